"use strict";
(() => {
  const el = id => document.getElementById(id);
  const num = n => n.toLocaleString("en-US", {maximumFractionDigits: n < 10 ? 1 : 0});
  const count = n => Math.round(n).toLocaleString("en-US");
  const text = (id, s) => { const e = typeof id === "string" ? el(id) : id; if (e.textContent !== s) e.textContent = s; };
  // h makes an element; texts are only ever texts.
  const h = (tag, attributes, ...inner) => {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes || {})) {
      if (k === "on") e.addEventListener("click", v);
      else if (v !== undefined && v !== false && v !== null) e.setAttribute(k, v === true ? "" : v);
    }
    e.append(...inner.filter(x => x !== undefined && x !== null && x !== false && x !== ""));
    return e;
  };
  const g = (tag, attributes, s) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const k in attributes) e.setAttribute(k, attributes[k]);
    if (s !== undefined) e.textContent = s;
    return e;
  };
  const span = ms => {
    const s = ms / 1000;
    if (s < 1) return Math.round(ms) + " ms";
    if (s < 60) return (s < 10 ? +s.toFixed(1) : Math.floor(s)) + " s";
    if (s < 3600) return Math.floor(s / 60) + " min" + (s % 60 >= 1 && s < 600 ? " " + Math.floor(s % 60) + " s" : "");
    if (s < 172800) return Math.floor(s / 3600) + " h" + (s % 3600 >= 60 ? " " + Math.floor(s % 3600 / 60) + " min" : "");
    return s > 86400 * 3650 ? "more than ten years" : Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
  };
  const size = n => {
    for (const u of ["B", "KiB", "MiB", "GiB", "TiB"]) {
      if (n < 1024 || u === "TiB") return (u === "B" ? n : +n.toFixed(n < 10 ? 1 : 0)) + " " + u;
      n /= 1024;
    }
  };
  const two = n => String(n).padStart(2, "0");
  const clock = (t, s) => { const d = new Date(t); return two(d.getHours()) + ":" + two(d.getMinutes()) + (s ? ":" + two(d.getSeconds()) : ""); };
  const day = t => { const d = new Date(t); return d.getFullYear() + "-" + two(d.getMonth() + 1) + "-" + two(d.getDate()); };
  const moment = t => day(t) === day(Date.now()) ? clock(t, true) : day(t).slice(5) + " " + clock(t);
  const times = n => n === 1 ? "once" : count(n) + " times";
  const list = (id, rows) => el(id).replaceChildren(...rows.filter(r => r && r[1]).flatMap(([k, v, c]) => [h("dt", {}, k), h("dd", {class: c}, v)]));

  // ---- asking, with the token of who is logged in; it is kept for this tab.
  const store = {get: k => { try { return sessionStorage.getItem(k); } catch { return null; } },
    set: (k, v) => { try { v ? sessionStorage.setItem(k, v) : sessionStorage.removeItem(k); } catch { /* private: for this view only */ } }};
  let token = store.get("token"), renewal = store.get("renewal"), me = {};
  const keep = t => {
    token = t && t.token; renewal = t && t.refreshToken;
    store.set("token", token); store.set("renewal", renewal);
  };
  const json = body => ({method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json", "X-Edgesync": "1"}});
  const ask = async (path, options = {}, limit = 15000) => {
    const send = () => fetch(path, {cache: "no-store", signal: limit ? AbortSignal.timeout(limit) : undefined, ...options,
      headers: {...options.headers, ...(token ? {"X-Authorization": "Bearer " + token} : {})}});
    let r = await send();
    if (r.status === 401 && renewal) {
      const n = await fetch("/api/auth/token", json({refreshToken: renewal}));
      keep(n.ok ? await n.json() : null);
      if (n.ok) r = await send(); else whoami();
    }
    return r;
  };
  const get = async path => {
    const r = await ask("/api/edgesync/" + path);
    if (!r.ok) throw Object.assign(new Error((await r.text()).trim().slice(0, 200) || r.status), {code: r.status});
    return r.json();
  };
  const why = e => e.name === "TimeoutError" ? "The agent did not answer in time." : e.code ? "The agent says: " + e.message + "." : "The agent does not answer.";

  // ---- views: the hash is the view and its filter.
  const views = ["overview", "events", "refused", "devices", "rules", "log"];
  let view = "", query = new URLSearchParams();
  const go = (v, q) => { const s = q && q.toString(); location.hash = v + (s ? "?" + s : ""); };
  const route = () => {
    const [v, q] = location.hash.slice(1).split("?");
    const next = views.includes(v) ? v : "overview";
    const other = next !== view;
    view = next; query = new URLSearchParams(q);
    for (const n of views) el("v-" + n).hidden = n !== view;
    for (const a of document.querySelectorAll("nav a")) {
      if (a.hash.slice(1) === view) a.setAttribute("aria-current", "page"); else a.removeAttribute("aria-current");
    }
    if (other && document.activeElement && document.activeElement.closest("nav")) scrollTo(0, 0);
    for (const f of document.querySelectorAll("#v-" + view + " .filter")) {
      for (const i of f.elements) if (i.name && i !== document.activeElement) i.value = query.get(i.name) || "";
    }
    load(true);
  };
  const filter = (id, name) => {
    const f = el(id);
    let wait;
    const apply = () => {
      const q = new URLSearchParams();
      for (const i of f.elements) if (i.name && i.value) q.set(i.name, i.value);
      go(name, q);
    };
    f.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(apply, 350); });
    f.addEventListener("submit", e => { e.preventDefault(); apply(); });
    f.addEventListener("reset", () => setTimeout(apply));
  };

  // A row is one line; its details come on a click.
  const row = (cells, details) => {
    const line = h("button", {class: "line", "aria-expanded": "false"}, ...cells);
    const r = h("div", {class: "row", role: "listitem"}, line);
    line.addEventListener("click", () => {
      const open = line.getAttribute("aria-expanded") === "true";
      line.setAttribute("aria-expanded", String(!open));
      if (open) r.lastChild.remove(); else r.append(details());
    });
    return r;
  };
  const cell = (s, c) => h("span", {class: c, title: s}, s);
  const more = (pairs, raw, ...extra) => {
    const dl = h("dl", {class: "list"}, ...pairs.filter(p => p && p[1]).flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
    return h("div", {class: "more"}, dl, raw && h("pre", {tabindex: "0"}, raw), ...extra);
  };
  const open = id => el(id).querySelector("[aria-expanded=true]") !== null;

  // ---- history: plots
  let range = 60, past = null, cross = -1;
  const nice = top => {
    const p = 10 ** Math.floor(Math.log10(top || 1));
    for (const m of [1, 2, 4, 6, 10]) if (m * p >= top) return m * p;
  };
  const plots = [
    {name: "Backlog", unit: "events", keys: ["backlog"], show: count, marks: [[5000, "warning"]]},
    {name: "Flow", unit: "events a minute", keys: ["in", "out"], words: ["in", "delivered"], show: count},
    {name: "Delay of the oldest", unit: "", keys: ["latency_ms"], show: span, time: true, marks: [[30000, "warning"]]},
    {name: "Room", unit: "% of the limit", keys: ["room_percent"], show: n => num(n) + " %", top: 100, marks: [[100, "limit"]]},
  ];
  const steps = [10, 50, 100, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5, 1728e5, 6048e5];
  for (const p of plots) {
    p.now = h("i", {class: "dim"});
    p.svg = g("svg", {class: "plot", height: 150, tabindex: 0, role: "img"});
    el("plots").append(h("figure", {}, h("figcaption", {}, h("b", {}, p.name), p.now), p.svg));
    const at = x => { const b = p.svg.getBoundingClientRect(); return past ? Math.max(0, Math.min(past.n - 1, Math.round((x - b.left - 46) / (b.width - 52) * (past.n - 1)))) : -1; };
    p.svg.addEventListener("pointermove", e => { cross = at(e.clientX); drawAll(); });
    p.svg.addEventListener("pointerleave", () => { cross = -1; drawAll(); });
    p.svg.addEventListener("blur", () => { cross = -1; drawAll(); });
    p.svg.addEventListener("keydown", e => {
      const d = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10}[e.key];
      if (!past || !d && e.key !== "Home" && e.key !== "End") return;
      e.preventDefault();
      cross = e.key === "Home" ? 0 : e.key === "End" ? past.n - 1 : Math.max(0, Math.min(past.n - 1, (cross < 0 ? past.n - 1 : cross) + d));
      drawAll();
    });
  }
  const draw = p => {
    const W = Math.max(240, p.svg.clientWidth), H = 150, L = 46, B = 132, T = 12, R = W - 6, n = past.n;
    const series = p.keys.map(k => past[k]);
    let max = 0, maxAt = -1;
    for (const s of series) s.forEach((v, i) => { if (v !== null && v > max) { max = v; maxAt = i; } });
    let top = p.top || nice(Math.max(max, p.time ? 100 : 4));
    if (p.time) top = steps.find(s => s >= max) || max;
    const x = i => +(L + (R - L) * i / Math.max(1, n - 1)).toFixed(1), y = v => +(B - (B - T) * Math.min(v, top) / top).toFixed(1);
    const parts = [];
    // Minutes without a link, and those without an agent.
    for (let i = 0, from = -1; i <= n; i++) {
      const down = i < n && past.up[i] !== null && past.up[i] < 1;
      if (down && from < 0) from = i;
      if (!down && from >= 0) {
        parts.push(g("rect", {class: "out", x: x(from) - .5, y: T, width: Math.max(1.5, x(i - 1) - x(from) + (R - L) / n), height: B - T}));
        from = -1;
      }
    }
    for (const f of [0, .5, 1]) {
      parts.push(g("line", {class: "grid", x1: L, x2: R, y1: y(top * f), y2: y(top * f)}));
      parts.push(g("text", {x: L - 6, y: y(top * f) + 4, "text-anchor": "end"}, p.time ? f ? span(top * f) : "0" : short(top * f)));
    }
    const every = range === 60 ? 15 : 240;
    for (let i = 0; i < n; i++) {
      const t = past.from + i * 60000, d = new Date(t), m = d.getHours() * 60 + d.getMinutes();
      if (m % every || x(i) > R - 12 || x(i) < L + 8) continue;
      parts.push(g("line", {class: "grid", x1: x(i), x2: x(i), y1: B, y2: B + 4}));
      parts.push(g("text", {x: x(i), y: H - 2, "text-anchor": "middle"}, clock(t)));
    }
    for (const [v, word] of p.marks || []) {
      if (v > top) continue;
      parts.push(g("line", {class: "limit", x1: L, x2: R, y1: y(v), y2: y(v)}));
      if (v >= top / 8) parts.push(g("text", {class: "limit-t", x: R, y: y(v) - 3, "text-anchor": "end"},
        word + " " + (p.top ? past.limit ? size(past.limit) : "100 %" : p.show(v))));
    }
    series.forEach((s, k) => {
      let d = "", fill = "", from = -1;
      s.forEach((v, i) => {
        if (v === null) { if (from >= 0) fill += "L" + x(i - 1) + "," + B + "L" + x(from) + "," + B; from = -1; return; }
        d += (from < 0 ? "M" : "L") + x(i) + "," + y(v) + (from < 0 && (i === n - 1 || s[i + 1] === null) ? "h1" : "");
        fill += (from < 0 ? "M" : "L") + x(i) + "," + y(v);
        if (from < 0) from = i;
      });
      if (from >= 0) fill += "L" + x(n - 1) + "," + B + "L" + x(from) + "," + B;
      if (!k && fill) parts.push(g("path", {class: "fill", d: fill}));
      if (d) parts.push(g("path", {class: k ? "b" : "a", d}));
    });
    const last = cross < 0 ? n - 1 : cross;
    if (cross >= 0) parts.push(g("line", {class: "cross", x1: x(cross), x2: x(cross), y1: T, y2: B}));
    p.svg.setAttribute("viewBox", "0 0 " + W + " " + H);
    p.svg.replaceChildren(...parts);
    const value = i => past.up[i] === null || series[0][i] === null ? "no agent" :
      series.map((s, k) => (p.words ? p.words[k] + " " : "") + p.show(s[i])).join(", ") + (past.up[i] < 1 ? ", no link" : "");
    const highest = maxAt < 0 ? "" : "most " + p.show(max) + " at " + clock(past.from + maxAt * 60000);
    if (cross >= 0) text(p.now, clock(past.from + last * 60000) + ": " + value(last));
    else p.now.replaceChildren(...(p.words ? [h("span", {class: "key-a"}, "— in "), h("span", {class: "key-b"}, "┄ delivered ")] : []), [p.unit, highest].filter(Boolean).join(" · "));
    const out = past.up.filter(u => u !== null && u < 1).length;
    p.svg.setAttribute("aria-label", p.name + (p.unit ? " in " + p.unit : "") + ", last " + (range === 60 ? "hour" : "24 hours") + ": now " + value(n - 1) +
      (highest ? "; " + highest : "") + (out ? "; " + count(out) + " minutes with an outage" : "") + ". Arrow keys read each minute." +
      (cross >= 0 ? " " + clock(past.from + last * 60000) + ": " + value(last) : ""));
  };
  const short = n => n >= 1e6 ? +(n / 1e6).toFixed(1) + " M" : n >= 1e4 ? +(n / 1e3).toFixed(1) + " k" : String(+n.toFixed(1));
  const drawAll = () => { if (past && view === "overview") plots.forEach(draw); };
  const history = async () => {
    try {
      const p = await get("history?minutes=" + range);
      p.n = p.backlog.length;
      p.limit = last ? last.room.limit_bytes : 0;
      past = p;
      const out = p.up.filter(u => u !== null && u < 1).length, none = p.up.filter(u => u === null).length;
      text("h-note", [out && "without a link: " + span(out * 60000) + " (shaded)", none && "not recorded: " + span(none * 60000)].filter(Boolean).join("; "));
      drawAll();
    } catch (e) { text("h-note", why(e)); }
  };
  const setRange = n => {
    range = n; cross = -1;
    el("h1").setAttribute("aria-pressed", String(n === 60));
    el("h24").setAttribute("aria-pressed", String(n !== 60));
    const q = new URLSearchParams();
    if (n !== 60) q.set("hours", "24");
    if ((location.hash.split("?")[1] || "") !== q.toString()) go("overview", q); else history();
  };
  el("h1").addEventListener("click", () => setRange(60));
  el("h24").addEventListener("click", () => setRange(1440));
  new ResizeObserver(drawAll).observe(el("plots"));

  // ---- the report
  let last = null, lastAt = 0, spoken = "", spokenAt = 0;
  // say tells a screen reader what is another matter now, at most once a minute.
  const say = (kind, s) => {
    const now = Date.now();
    if (kind === spoken || now - spokenAt < 60000) return;
    spoken = kind; spokenAt = now;
    text("say", s);
  };
  const show = s => {
    if (!s.health) return; // too long to be sent
    lastAt = Date.now();
    document.body.classList.remove("gone");
    el("gone").hidden = true;
    text("state", s.state);
    el("state").className = "badge " + (s.state === "disconnected" || s.state === "refused" ? "bad" : s.state === "reconnecting" ? "warning" : "ok");
    text("peer", [s.edge, s.cloud].filter(Boolean).join(" → "));
    text("headline", s.health.text);
    el("headline").className = s.health.level === "ok" ? "" : s.health.level;
    el("ack").hidden = !me.admin || !/--ack/.test(s.health.text);
    say(s.health.kind, s.health.text);
    const w = s.warnings || [];
    if (el("warnings").dataset.w !== w.join()) {
      el("warnings").dataset.w = w.join();
      el("warnings").replaceChildren(...w.map(t => h("li", {}, t)));
    }
    text("n-dead", s.dead ? count(s.dead) : "");
    text("t-pending", count(s.pending));
    el("t-pending").className = s.health.queue === "ok" ? "" : s.health.queue;
    text("t-oldest", s.pending ? "the oldest for " + span(s.oldest_pending_ms) : "nothing waits");
    if (last) {
      const d = (new Date(s.at) - new Date(last.at)) / 1000;
      if (d > 0 && d < 30 && s.accepted >= last.accepted) {
        text("t-in", num((s.accepted - last.accepted) / d));
        text("t-out", num(Math.max(0, s.deployed - last.deployed) / d));
      }
    }
    const room = s.room;
    text("t-room", room.limit_bytes ? num(room.percent) + " %" : size(room.used_bytes));
    text("t-full", room.full_in_ms === undefined ? room.limit_bytes ? "of " + size(room.limit_bytes) : "" : room.full_in_ms < 60000 ? "full" : "without a link full in " + span(room.full_in_ms));
    const lost = s.dropped + s.dead + s.damaged, total = Math.max(1, s.deployed + s.pending + lost);
    let at = 0;
    el("share").replaceChildren(...[s.deployed, s.pending, lost].map((n, i) => {
      const r = g("rect", {class: "s" + i, x: 100 * at / total + "%", width: 100 * n / total + "%", height: 10});
      at += n;
      return r;
    }));
    const sum = s.deployed + s.pending + lost;
    list("account", [["accepted", count(s.accepted) + (sum === s.accepted ? "" : " ≠ " + count(sum)), sum === s.accepted ? "" : "bad"],
      ["delivered", count(s.deployed), "ok"], ["waiting", count(s.pending)], ["dropped", count(s.dropped), s.dropped ? "bad" : ""],
      ["refused, kept", count(s.dead), s.dead ? "bad" : ""], ["damaged", count(s.damaged), s.damaged ? "bad" : ""],
      ...(s.losses || []).filter(l => l.events).map(l => ["lost: " + l.reason, count(l.events) + (l.until ? ", last " + moment(l.until) : "")])]);
    const c = s.refused_creations, names = c && c.names || [];
    list("details", [
      ["Link", s.state + " since " + moment(s.linked_since && /^(connected|processing)$/.test(s.state) ? s.linked_since : s.since) + (s.next_attempt_ms ? ", next attempt in " + span(s.next_attempt_ms) : "")],
      ["Last error", s.last_error],
      ["Not created", c && "the cloud refuses " + names.join(", ") + (c.devices > names.length ? " … (" + count(c.devices) + ")" : "") + (c.cause ? ": " + c.cause : "") + "; " + count(c.events) + " events wait for that" + (c.full ? ", and the room for them is used up" : "")],
      ["Window", s.in_flight + " of " + s.window + " batches in flight" + (s.rtt_ms ? ", answered in " + num(s.rtt_ms) + " ms" : "")],
      ["Connections", count(s.connects) + " in " + count(s.reconnects + 1) + (s.reconnects ? " attempts" : " attempt")],
      ["Sync", s.sync || (s.synced ? "complete; " : "never complete; ") + count(s.devices) + " devices"],
      ["From the cloud", count(s.downlinks) + " messages" + (s.downlinks_unused ? ", " + count(s.downlinks_unused) + " unused" : "")],
      ["Room", size(room.used_bytes) + (room.limit_bytes ? " of " + size(room.limit_bytes) : "") + (room.bytes_per_hour ? "; " + size(Math.round(room.bytes_per_hour)) + " an hour come in" : "")],
      ["Flash", size(s.flash_wear_today) + " worn today by " + size(s.flash_bytes_today) + " written, " + size(room.flash_worn_bytes) + " in all" + (s.flash_years ? "; lasts " + num(s.flash_years) + " years" : "")],
      ["", room.arrays_of_10 ? "Arrays of 10 would make this medium last " + num(room.arrays_of_10) + " times longer." : ""],
      ["Medium", s.medium],
      ["Doors", ["http " + (s.http_address || "off"), s.http_tls_address && "https " + s.http_tls_address, "mqtt " + (s.mqtt_address || "off"), s.mqtt_tls_address && "mqtt over TLS " + s.mqtt_tls_address].filter(Boolean).join(", ")],
      ["MQTT connections", count(s.mqtt_connections)],
      ["Process", size(s.rss_bytes) + " of memory, up " + span(s.uptime_ms)],
    ]);
    text("version", "edgesync " + s.version);
    document.title = (s.health.level === "ok" ? "" : "! ") + count(s.pending) + " waiting · edgesync";
    const moved = !last || s.accepted !== last.accepted || s.committed !== last.committed || s.dead !== last.dead;
    last = s;
    if (view === "refused") refusals();
    load(false, moved);
  };
  const gone = () => {
    if (document.body.classList.contains("gone")) return;
    document.body.classList.add("gone");
    el("gone").hidden = false;
    text("gone", "The agent does not answer." + (lastAt ? " What is shown is as of " + clock(lastAt) + "." : ""));
    text("state", "no answer");
    say("gone", el("gone").textContent);
  };

  // ---- the stream of reports: read with fetch, so that the token goes in a header
  let stop = null;
  const stream = async () => {
    for (let pause = 1000; ; pause = Math.min(pause * 2, 10000)) {
      if (document.hidden) { await new Promise(f => document.addEventListener("visibilitychange", f, {once: true})); continue; }
      const a = stop = new AbortController();
      let quiet = setTimeout(() => a.abort(), 8000);
      try {
        const r = await ask("/api/edgesync/live", {signal: a.signal}, 0);
        if (r.status === 503) { // all streams are taken
          show(await get("status"));
          clearTimeout(quiet);
          await new Promise(f => setTimeout(f, 10000));
          pause = 500;
          continue;
        }
        if (!r.ok) throw new Error(r.status);
        const read = r.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let rest = ""; ;) {
          const {value, done} = await read.read();
          if (done) break;
          clearTimeout(quiet);
          quiet = setTimeout(() => a.abort(), 8000);
          const events = (rest + value).split("\n\n");
          rest = events.pop();
          if (events.length) { show(JSON.parse(events.pop().slice(6))); pause = 500; }
        }
      } catch { /* told below */ }
      clearTimeout(quiet);
      a.abort();
      if (document.hidden) { pause = 500; continue; }
      await new Promise(f => setTimeout(f, pause));
      if (Date.now() - lastAt > 4000) gone();
    }
  };
  document.addEventListener("visibilitychange", () => { if (document.hidden && stop) stop.abort(); });

  // ---- events
  for (const a of ["TIMESERIES_UPDATED", "ATTRIBUTES_UPDATED", "POST_ATTRIBUTES", "ATTRIBUTES_DELETED", "ADDED", "UPDATED", "DELETED", "ALARM_ACK", "ALARM_CLEAR",
    "RELATION_ADD_OR_UPDATE", "RELATION_DELETED", "RPC_CALL", "CREDENTIALS_UPDATED"]) el("f-events").elements.action.append(h("option", {}, a));
  const grades = {PENDING: "warning", DEPLOYED: "ok", DEAD: "bad", DAMAGED: "bad"};
  const eventRow = e => {
    if (e.status === "DAMAGED") return row([cell("offset " + e.offset), cell(e.status, "bad"), cell("unreadable on the medium")], () => more([["Offsets", e.offset + " to " + e.last]]));
    const content = e.content ? JSON.stringify(e.content.values || e.content.kv || e.content) : size(e.bytes || 0);
    const who = e.name || (e.entity_type || "").toLowerCase() + " " + e.entity;
    return row([cell(moment(e.time)), cell(e.status, grades[e.status]), cell(who), cell(e.action, "dim"), cell(content)], () => more([
      ["Offset", String(e.offset)], ["Accepted", new Date(e.time).toLocaleString()], ["Entity", (e.entity_type || "") + " " + e.entity],
      ["Event", e.action + " · " + e.type], ["Size", size(e.bytes || 0)]], e.content && JSON.stringify(e.content, null, 2),
      h("p", {class: "bar"}, h("button", {class: "link", on: () => go("events", new URLSearchParams({device: e.entity}))}, "Only this one"),
        e.status === "DEAD" && h("a", {href: "#refused"}, "Why it is refused"))));
  };
  let turn = 0, found = null, older = false;
  const eventQuery = before => {
    const q = new URLSearchParams({limit: 50});
    for (const k of ["device", "action", "status", "text"]) if (query.get(k)) q.set(k, query.get(k).trim());
    for (const k of ["since", "until"]) { const t = Date.parse(query.get(k)); if (t) q.set(k, t); }
    if (before) q.set("before", before);
    return q;
  };
  const events = async before => {
    const mine = ++turn; // the newest question wins
    if (!before && found === null) text("e-note", "Looking…");
    el("e-older").disabled = true;
    try {
      let f = await get("search?" + eventQuery(before));
      if (mine !== turn) return;
      // Where little matches the agent looks at a part at a time.
      for (let k = 0; !f.events.length && f.next && k < 40; k++) {
        text("e-note", "Looking at offsets below " + count(f.next) + "…");
        f = await get("search?" + eventQuery(f.next));
        if (mine !== turn) return;
      }
      found = f; older = Boolean(before);
      text("e-note", (f.hidden ? "What the events hold is shown to who is logged in. " : "") +
        (f.events.length || before ? "" : f.next ? "Nothing found yet; look at older ones." : [...query.keys()].length ? "Nothing matches." : "No events yet."));
      const rows = f.events.map(eventRow);
      if (before) el("e-rows").append(...rows); else el("e-rows").replaceChildren(...rows);
      el("e-older").disabled = !f.next;
      text("e-range", f.next ? "older than offset " + count(f.next) : f.last ? "That is all." : "");
    } catch (e) { if (mine === turn) { text("e-note", why(e)); el("e-older").disabled = false; } }
  };
  el("e-older").addEventListener("click", () => events(found && found.next));

  // ---- orders
  const sure = (title, words, yes) => new Promise(done => {
    const d = el("sure");
    text("sure-t", title); text("sure-p", words); text("sure-y", yes);
    d.returnValue = "";
    // The event of an earlier closing may come when the dialog is open again.
    const closed = () => {
      if (d.open) return;
      d.removeEventListener("close", closed);
      done(d.returnValue === "yes");
    };
    d.addEventListener("close", closed);
    d.showModal();
  });
  const order = async (note, request, words) => {
    text(note, "…");
    try {
      const r = await ask("/api/edgesync/do", json(request), 30000);
      if (!r.ok) { text(note, r.status === 401 ? "Log in first." : (await r.text()).trim()); return null; }
      const a = await r.json();
      text(note, a.ok ? words(a) : "Not done: " + a.error);
      return a;
    } catch (e) { text(note, why(e)); return null; }
  };
  el("ack").addEventListener("click", () => order("ack-note", {do: "ack"}, () => "Noted."));
  for (const b of document.querySelectorAll("[data-do]")) {
    b.addEventListener("click", () => order("a-note", {do: b.dataset.do}, () => b.dataset.do === "sync" ? "A sync is asked for." : "Connecting."));
  }
  el("level").addEventListener("change", async e => {
    const level = e.target.value;
    if (level) await order("a-note", {do: "log_level", level}, () => "The log level is " + level + " until the agent starts anew.");
  });
  el("bundle").addEventListener("click", async () => {
    text("a-note", "The diagnosis is being made…");
    try {
      const r = await ask("/api/edgesync/bugreport", {}, 60000);
      if (!r.ok) throw Object.assign(new Error(r.status === 404 ? "this version makes none" : (await r.text()).trim()), {code: r.status});
      const url = URL.createObjectURL(await r.blob());
      const name = /filename="?([\w.-]+)/.exec(r.headers.get("Content-Disposition") || "");
      h("a", {href: url, download: name ? name[1] : "edgesync-diagnosis"}).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
      text("a-note", "The diagnosis is downloaded; secrets are masked in it.");
    } catch (e) { text("a-note", why(e)); }
  });

  // ---- refused
  let deadNext = 0;
  const deadRow = d => {
    const name = d.name || d.entity, one = {offset: d.offset};
    const act = async (what, words) => { const a = await order("d-note", {do: what, ...one}, words); if (a && a.ok) dead(); };
    return row([cell(moment(d.dead_since)), cell(name), cell(d.action, "dim"), cell(d.tries + (d.tries === 1 ? " try" : " tries") + (d.resting ? ", rests" : "")), cell(d.reason)], () => more([
      ["The cloud says", d.reason], ["Entity", d.entity], ["Event", d.action + " · " + d.kind + ", " + size(d.bytes)], ["Accepted", new Date(d.time).toLocaleString()],
      ["Refused since", new Date(d.dead_since).toLocaleString()], ["Tries", d.tries + (d.resting ? "; none by itself any more" : "; it is tried again by itself")], ["Offset", String(d.offset)]], "",
      me.admin && h("p", {class: "bar"}, h("button", {on: () => act("dead_retry", () => "It is tried again now.")}, "Retry"),
        h("button", {class: "danger", on: async () => {
          if (await sure("Drop this event?", "The event of " + name + " is forgotten for good, and what waits for it too.", "Drop")) act("dead_drop", dropped);
        }}, "Drop…"))));
  };
  const dropped = a => count(a.count) + (a.count === 1 ? " event is" : " events are") + " dropped." + (a.later ? " " + count(a.later) + " cannot be yet: try again in a few seconds." : "");
  const dead = async from => {
    refusals();
    const may = Boolean(me.admin);
    for (const id of ["d-retry", "d-drop"]) el(id).hidden = !may;
    if (!me.sees) {
      text("d-note", last ? (last.dead ? count(last.dead) + " events are kept. " : "Nothing is refused. ") + "What they are is shown to who is logged in." : "");
      el("d-rows").replaceChildren();
      return;
    }
    try {
      const l = await get("dead" + (from ? "?from=" + from : ""));
      const rows = l.letters.map(deadRow);
      if (from) el("d-rows").append(...rows); else el("d-rows").replaceChildren(...rows);
      deadNext = l.next || 0;
      el("d-more").hidden = !deadNext;
      for (const id of ["d-retry", "d-drop"]) el(id).disabled = !l.letters.length;
      if (!l.letters.length && !from && el("d-note").textContent === "") text("d-note", "Nothing is refused.");
    } catch (e) { text("d-note", why(e)); }
  };
  el("d-more").addEventListener("click", () => dead(deadNext));
  el("d-retry").addEventListener("click", async () => { const a = await order("d-note", {do: "dead_retry", all: true}, a => count(a.count) + " events are tried again."); if (a) dead(); });
  el("d-drop").addEventListener("click", async () => {
    if (await sure("Drop all refused events?", "All " + (last ? count(last.dead) + " " : "") + "events that the cloud refuses are forgotten for good.", "Drop all")) {
      const a = await order("d-note", {do: "dead_drop", all: true}, dropped);
      if (a) dead();
    }
  });
  const party = r => row([cell(r.who), cell(r.door, "dim"), cell(times(r.count)), cell(r.words)], () => more([
    ["Refused", r.words], ["Topic", r.topic], ["Detail", r.detail], ["What helps", r.cure], ["Since", moment(r.since)], ["Last", moment(r.last)]]));
  const refusals = () => {
    const all = last && last.refused || [];
    if (!open("r-rows")) el("r-rows").replaceChildren(...all.map(party));
    text("r-note", all.length ? "" : "The doors have refused nobody since the start.");
  };

  // ---- devices
  let deviceNext = "";
  const ago = t => { const ms = Date.now() - new Date(t); return ms < 10000 ? "just now" : span(ms) + " ago"; };
  const deviceRow = d => {
    const values = (d.values || []).map(v => v.key + " " + JSON.stringify(v.value)).join(", ");
    const refused = d.refused || [];
    return row([cell(d.name), cell(d.last_seen ? ago(d.last_seen) : "not seen", d.last_seen ? "" : "dim"),
      cell((d.connected ? "● " : "") + (d.door || "") + (d.gateway ? " by " + d.gateway : ""), d.connected ? "ok" : "dim"),
      cell(d.events_per_minute ? num(d.events_per_minute) + "/min" : ""), cell(refused.length ? "refused: " + refused[0].words : values, refused.length ? "bad" : "")],
    () => more([["Type", d.type], ["Label", d.label], ["Last seen", d.last_seen && new Date(d.last_seen).toLocaleString()], ["Connected", d.connected ? "over MQTT now" : "no"], ["Id", d.id],
      ...refused.map(r => ["Refused", r.words + ", " + times(r.count) + " since " + moment(r.since) + (r.cure ? ". " + r.cure : "")])],
    (d.values || []).map(v => v.key + ": " + JSON.stringify(v.value) + "   " + moment(v.ts)).join("\n"),
    h("p", {class: "bar"}, h("button", {class: "link", on: () => go("events", new URLSearchParams({device: d.id}))}, "Its events"))));
  };
  const devices = async after => {
    const mine = ++turn;
    try {
      const q = new URLSearchParams({limit: 50});
      if (query.get("text")) q.set("text", query.get("text"));
      if (after) q.set("after", after);
      const l = await get("devices?" + q);
      if (mine !== turn) return;
      text("v-note", count(l.total) + (l.total === 1 ? " device" : " devices") + (l.hidden ? ". Their values are shown to who is logged in." : ""));
      const rows = l.devices.map(deviceRow);
      if (after) el("v-rows").append(...rows); else el("v-rows").replaceChildren(...rows);
      deviceNext = l.next || "";
      el("v-more").hidden = !deviceNext;
      const unknown = l.unknown || [];
      if (!after) el("unknown").replaceChildren(...(unknown.length ? [h("h2", {}, "Who knocked and is not known"), h("div", {class: "rows", role: "list", "aria-label": "Unknown devices"}, ...unknown.map(party))] : []));
    } catch (e) {
      if (mine === turn) text("v-note", e.code === 404 ? (last ? count(last.devices) + " devices. " : "") + "This version shows no more of them." : why(e));
    }
  };
  el("v-more").addEventListener("click", () => devices(deviceNext));

  // ---- rules
  const rules = async () => {
    try {
      const r = await get("rules");
      const tile = (k, v) => h("div", {}, h("dt", {}, k), h("dd", {}, count(v || 0)));
      const left = (n, least) => Object.entries({...n.out, ...n.ended && {ended: n.ended}}).filter(([, v]) => v >= least).map(([k, v]) => k + " " + count(v)).join(", ");
      const sum = (s, ...names) => names.map(k => count(s[k] || 0) + " " + (k === "held" ? "waiting" : k)).join(" + ");
      el("u-tiles").replaceChildren(tile("made", r.made), tile("filtered", r.filtered), tile("merged", r.merged), tile("waiting", r.held), tile("failed", r.failed));
      text("u-note", ["Mode " + r.mode + (r.root ? ", root chain " + r.root + (r.root_since ? " since " + moment(r.root_since) : "") : (r.chains || []).some(c => c.root) ? ", root chain without a name" : ", no root chain") + ".",
        last && last.received ? sum(last, "received", "made") + " = " + sum(last, "accepted", "filtered", "held", "merged") + "." : "", ...(r.facts || [])].join(" "));
      el("u-chains").replaceChildren(...(r.chains || []).flatMap(c => [h("h2", {}, c.name + (c.root ? " (root)" : "")), c.problem && h("p", {class: "bad"}, c.problem), c.profiles && h("p", {}, "Of the profiles " + c.profiles.join(", ")),
        h("div", {class: "rows", role: "list", "aria-label": "Nodes of " + c.name}, ...c.nodes.map(n => row([cell(n.name), cell(count(n.in) + " in"),
          cell(n.failed ? count(n.failed) + " failed" : n.waiting ? count(n.waiting) + " wait" : "", n.failed ? "bad" : "dim"),
          cell(n.supported ? n.last_error || left(n, 1) : "not executed: " + n.reason, n.supported ? "" : "warning")],
        () => more([["Type", n.type], ["Not executed", n.reason], ["Instead", n.instead], ["Left by", left(n, 0)],
          ["Last failure", n.last_error && n.last_error + (n.last_error_at ? ", " + moment(n.last_error_at) : "")], ["Windows", n.windows && count(n.windows)]]))))]).filter(Boolean));
    } catch (e) { text("u-note", e.code === 404 ? "This agent executes no rules." : why(e)); }
  };

  // ---- log
  let lines = [];
  const line = l => typeof l === "string" ? l : [l.time && moment(l.time), l.level, l.text || l.msg || l.message].filter(Boolean).join(" ");
  const drawLog = () => {
    const want = (query.get("text") || "").toLowerCase(), box = el("l-rows"), end = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
    const some = lines.filter(s => s.toLowerCase().includes(want));
    box.replaceChildren(...some.map(s => h("li", {class: /\bERROR\b|level=error/i.test(s) ? "bad" : /\bWARN\b|level=warn/i.test(s) ? "warning" : ""}, s)));
    text("l-note", "The last " + count(lines.length) + " lines" + (want ? ", " + count(some.length) + " match" : "") + ".");
    if (end) box.scrollTop = box.scrollHeight;
  };
  const log = async () => {
    try {
      const r = await ask("/api/edgesync/log");
      if (!r.ok) throw Object.assign(new Error((await r.text()).trim()), {code: r.status});
      const body = await r.text();
      let l = body;
      try { l = JSON.parse(body); } catch { /* plain text */ }
      lines = (typeof l === "string" ? l.trimEnd().split("\n") : (l.lines || l).map(line)).slice(-200);
      drawLog();
    } catch (e) { text("l-note", e.code === 401 ? "The log is shown to administrators who are logged in." : why(e)); }
  };

  // ---- what is shown is loaded when it is asked for, and when something has changed
  let loaded = 0;
  const load = (asked, moved) => {
    const now = Date.now(), due = now - loaded;
    if (!asked && due < (view === "overview" ? 60000 : 5000)) return;
    if (!asked && document.hidden) return;
    switch (view) {
      case "overview":
        if (asked) {
          const n = query.get("hours") === "24" ? 1440 : 60;
          if (n !== range) { setRange(n); return; }
        }
        history();
        break;
      case "events":
        if (asked) found = null;
        if (!asked && (!moved || older || open("e-rows") || query.get("until"))) return;
        events();
        break;
      case "refused": if (asked) text("d-note", ""); if (asked || moved && !open("d-rows")) dead(); break;
      case "devices": if (asked || due > 10000 && !deviceMore() && !open("v-rows")) devices(); else return; break;
      case "rules": if (asked || !open("u-chains")) rules(); break;
      case "log": log(); break;
    }
    loaded = now;
  };
  const deviceMore = () => el("v-rows").children.length > 50;

  // ---- who is here
  const whoami = async () => {
    try { me = await get("me"); } catch { return; }
    const way = me.user ? [me.user + " ", h("button", {class: "link", on: async () => {
      try { await ask("/api/auth/logout", {method: "POST"}); } catch { /* it ends here all the same */ }
      keep(null); await whoami(); load(true);
    }}, "Log out")] : me.local ? ["on this machine"] : me.login === "open" ? [h("button", {on: () => { text("login-e", ""); el("login").showModal(); }}, "Log in")] :
      me.login === "https" ? [h("a", {href: "https://" + location.hostname + ":" + me.https + "/" + location.hash}, "Log in over HTTPS")] :
        ["No login over plain HTTP from a public address"];
    el("who").replaceChildren(...way);
    el("actions").hidden = !me.admin;
    text("a-note", me.admin ? "" : "Actions are for tenant administrators who are logged in.");
  };
  el("login").addEventListener("submit", async e => {
    e.preventDefault();
    const f = e.target.elements;
    text("login-e", "");
    try {
      const r = await fetch("/api/auth/login", json({username: f.user.value.trim(), password: f.password.value}));
      if (!r.ok) { text("login-e", (await r.json()).message); return; }
      keep(await r.json());
      f.password.value = "";
      el("login").close();
      await whoami();
      load(true);
    } catch { text("login-e", "The agent does not answer."); }
  });
  for (const b of document.querySelectorAll("[data-close]")) b.addEventListener("click", () => b.closest("dialog").close());

  // Views whose paths this agent does not have are not offered.
  const offer = async () => {
    for (const [v, path] of [["rules", "rules"], ["log", "log"]]) {
      try { document.querySelector("nav a[href='#" + v + "']").hidden = (await ask("/api/edgesync/" + path, {method: "HEAD"})).status === 404; } catch { /* not now */ }
    }
  };
  filter("f-events", "events");
  filter("f-devices", "devices");
  filter("f-log", "log");
  addEventListener("hashchange", route);
  whoami().then(() => { route(); stream(); offer(); });
})();
