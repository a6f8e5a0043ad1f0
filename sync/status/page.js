"use strict";
(() => {
  const el = id => document.getElementById(id);
  const num = n => n.toLocaleString("en-US");
  const text = (id, s) => { el(id).textContent = s; };
  const history = [];
  let last = null;

  const span = ms => {
    const s = ms / 1000;
    if (s < 1) return Math.round(ms) + " ms";
    if (s < 60) return (s < 10 ? s.toFixed(1) : Math.floor(s)) + " s";
    if (s < 3600) return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s";
    if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
    return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
  };
  const size = n => {
    for (const u of ["B", "KiB", "MiB", "GiB"]) {
      if (n < 1024 || u === "GiB") return (u === "B" ? n : n.toFixed(1)) + " " + u;
      n /= 1024;
    }
  };
  const rate = (a, b, seconds) => seconds > 0 && a >= b ? num(Math.round((a - b) / seconds * 10) / 10) : "–";

  const moment = t => new Date().toDateString() === t.toDateString() ? t.toLocaleTimeString() : t.toLocaleString();

  const draw = () => {
    const top = Math.max(10, ...history) * 1.05;
    const x = i => 120 - history.length + 1 + i;
    const points = history.map((n, i) => x(i) + "," + (30 - 29 * n / top).toFixed(2));
    if (points.length < 2) return;
    el("line").setAttribute("d", "M" + points.join("L"));
    el("area").setAttribute("d", "M" + x(0) + ",30L" + points.join("L") + "L120,30Z");
  };

  const show = s => {
    const now = performance.now();
    const level = s.health.level;
    text("state", s.state);
    el("state").className = "badge " + (s.state === "disconnected" ? "bad" : s.state === "reconnecting" ? "warning" : "ok");
    text("peer", [s.edge, s.cloud].filter(Boolean).join(" → "));
    text("health", s.health.text);
    el("health").className = level;
    el("warnings").replaceChildren(...(s.warnings || []).map(w => {
      const li = document.createElement("li");
      li.textContent = w;
      return li;
    }));
    text("pending", num(s.pending));
    el("pending").className = s.health.queue;
    text("oldest", s.pending ? span(s.oldest_pending_ms) : "–");
    el("oldest").className = s.health.latency;
    if (last) {
      const seconds = (now - last.at) / 1000;
      text("in", rate(s.accepted, last.accepted, seconds));
      text("out", rate(s.deployed, last.deployed, seconds));
    }
    last = {at: now, accepted: s.accepted, deployed: s.deployed};
    history.push(s.pending);
    if (history.length > 121) history.shift();
    draw();

    for (const [id, now, grade] of [["queue", num(s.pending) + " waiting", s.health.queue], ["latency", s.pending ? span(s.oldest_pending_ms) : "nothing waits", s.health.latency], ["link", s.state, s.health.link]]) {
      text("now-" + id, now + (grade === "ok" ? " ✓" : grade === "raised" ? "" : " ⚠"));
      el("now-" + id).className = grade;
    }

    const lost = s.dropped + s.dead + s.damaged;
    const total = Math.max(1, s.deployed + s.pending + lost);
    for (const [id, n] of [["deployed", s.deployed], ["pending", s.pending], ["lost", lost]]) el("bar-" + id).style.width = 100 * n / total + "%";
    const sum = s.deployed + s.pending + lost;
    text("identity", num(s.accepted) + " accepted " + (sum === s.accepted ? "=" : "≠") + " " + num(s.deployed) + " deployed + " + num(s.pending) +
      " pending + " + num(s.dropped) + " dropped + " + num(s.dead) + " dead + " + num(s.damaged) + " damaged");
    el("identity").className = sum === s.accepted ? "" : "bad";

    const c = s.refused_creations, times = n => n === 1 ? "once" : num(n) + " times";
    const rows = [
      ...(c ? [["Not created", "the cloud refuses " + (c.names || []).join(", ") + (c.devices > (c.names || []).length ? " … (" + num(c.devices) + ")" : "") +
        (c.cause ? ": " + c.cause : "") + "; " + num(c.events) + " events wait for that" + (c.full ? ", and the room for them is used up" : "")]] : []),
      ...(s.refused || []).slice(0, 5).map(r => ["Refused", [r.who + ": " + r.words + ", " + times(r.count) + " since " + moment(new Date(r.since)),
        r.topic, r.detail, r.cure].filter(Boolean).join("; ")]),
      ["Link", s.state + " since " + new Date(s.since).toLocaleString() + (s.next_attempt_ms ? ", next attempt in " + span(s.next_attempt_ms) : "")],
      ["Last error", s.last_error || "none"],
      ["Window", s.in_flight + " of " + s.window + " batches in flight" + (s.rtt_ms ? ", answered in " + s.rtt_ms.toFixed(1) + " ms" : "")],
      ["Connections", num(s.connects) + ", " + num(s.reconnects) + " reconnects"],
      ["Devices", num(s.devices) + (s.sync ? ", " + s.sync : s.synced ? ", synced" : ", never synced")],
      ["From the cloud", num(s.downlinks) + " messages, " + num(s.downlinks_unused) + " unused"],
      ["Room", size(s.room.used_bytes) + (s.room.limit_bytes ? " of " + size(s.room.limit_bytes) + " used (" + Math.round(s.room.percent) + " %)" : "") + (s.room.bytes_per_hour ? ", " + size(s.room.bytes_per_hour) + " an hour comes in" : "") + (s.room.full_in_ms === undefined ? "" : ": full in " + span(s.room.full_in_ms) + " while nothing leaves")],
      ["Queue", "committed " + num(s.committed) + " of " + num(s.last_offset) + (s.writable ? "" : ", not writable")],
      ["Flash", size(s.flash_wear_today) + " worn today (" + size(s.flash_bytes_today) + " written), " + size(s.room.flash_worn_bytes) + " in all" + (s.flash_years ? ", lasts " + s.flash_years.toPrecision(3) + " years" : "") + (s.room.arrays_of_10 ? "; arrays of 10 would make this medium last " + s.room.arrays_of_10.toPrecision(3) + " times longer" : "")],
      ["Doors", "http " + (s.http_address || "off") + (s.http_tls_address ? ", https " + s.http_tls_address : "") + ", mqtt " + (s.mqtt_address || "off") + (s.mqtt_tls_address ? ", mqtt over TLS " + s.mqtt_tls_address : "") + (s.mqtt_connections ? "; " + num(s.mqtt_connections) + " MQTT connections" : "")],
      ["Process", size(s.rss_bytes) + " of memory, up " + span(s.uptime_ms)],
    ];
    el("details").replaceChildren(...rows.flatMap(([k, v]) => {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = k;
      dd.textContent = v;
      return [dt, dd];
    }));
    text("version", "edgesync " + s.version);
    document.title = (level === "ok" ? "" : "! ") + num(s.pending) + " waiting · edgesync";
  };

  // Cloud events: a window of offsets, read anew each time. from is 0 while the newest are followed.
  const LIMIT = 20;
  let from = 0, shown = null, turn = 0;

  const cell = (label, s, cls) => {
    const td = document.createElement("td");
    td.textContent = s;
    td.dataset.label = label;
    if (cls) td.className = cls;
    return td;
  };
  const eventRow = e => {
    const tr = document.createElement("tr");
    if (e.status === "DAMAGED") {
      tr.append(cell("offset", num(e.offset) + (e.last > e.offset ? " to " + num(e.last) : "")), cell("accepted", "–"), cell("status", e.status, "bad"));
      return tr;
    }
    const content = e.content ? JSON.stringify(e.content.values || e.content) : "(" + size(e.bytes) + ")";
    tr.append(cell("offset", num(e.offset)), cell("accepted", moment(new Date(e.time))),
      cell("status", e.status, e.status === "PENDING" ? "warning" : e.status === "DEAD" ? "bad" : "ok"), cell("event", e.action + " · " + e.type),
      cell("entity", (e.entity_type ? e.entity_type + " " : "") + (e.name || e.entity)), cell("content", content, "content"));
    tr.title = e.entity;
    return tr;
  };
  const events = async () => {
    const mine = ++turn; // the newest question wins
    try {
      const r = await fetch("/api/edge/events?limit=" + LIMIT + (from ? "&from=" + from : ""), {cache: "no-store", signal: AbortSignal.timeout(10000)});
      if (!r.ok) throw new Error(r.status);
      const l = await r.json();
      if (mine !== turn) return;
      shown = l;
      const end = Math.min(l.last, l.from + l.limit - 1);
      text("ev-range", l.last ? "offsets " + num(l.from) + " to " + num(end) + " of " + num(l.last) : "");
      text("ev-note", l.events.length ? l.hidden ? "What the events hold is shown on the gateway itself only: open this page through an SSH tunnel." : "" : l.last ? "No events at these offsets: the queue keeps its own records there, or has dropped what was acknowledged." : "No events yet.");
      el("ev-rows").replaceChildren(...l.events.reverse().map(eventRow));
      el("ev-older").disabled = l.from <= 1 || from > 0 && l.from > from; // what is older was dropped
      el("ev-newer").disabled = end >= l.last;
      el("ev-pending").disabled = l.committed >= l.last;
    } catch {
      if (mine === turn) text("ev-note", "The events cannot be read now.");
    }
  };
  const go = n => { from = n; events(); };
  el("ev-newest").addEventListener("click", () => go(0));
  el("ev-pending").addEventListener("click", () => { if (shown) go(shown.committed + 1); });
  el("ev-older").addEventListener("click", () => { if (shown) go(Math.max(1, shown.from - LIMIT)); });
  el("ev-newer").addEventListener("click", () => { if (shown) go(shown.from + LIMIT > shown.last - LIMIT ? 0 : shown.from + LIMIT); });
  const follow = async () => {
    if (!document.hidden) await events();
    setTimeout(follow, 5000);
  };

  const ask = async () => {
    try {
      const r = await fetch("/api/edge/status", {cache: "no-store", signal: AbortSignal.timeout(5000)});
      if (!r.ok) throw new Error(r.status);
      show(await r.json());
    } catch {
      last = null;
      text("health", "The agent does not answer.");
      el("health").className = "bad";
    }
    setTimeout(ask, document.hidden ? 10000 : 2000);
  };
  document.addEventListener("visibilitychange", () => { last = null; });
  ask();
  follow();
})();
