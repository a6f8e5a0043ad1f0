'use strict';
'require view';
'require form';
'require uci';
'require fs';
'require poll';
'require ui';
'require edgesync.keys as keys';

// The page Services → edgesync: the state of the agent, a test of the connection, and a form for
// every key. Sections and options are named as in /etc/config/edgesync (keys.js, which is generated).

const PROGRAM = '/usr/bin/edgesync';
const INIT = '/etc/init.d/edgesync';
const SECRET = '/etc/edgesync/secret';
const TOML = '/etc/edgesync/config.toml';

// Titles of the tabs.
const TITLES = {
	main: _('Service'), cloud: _('Server'), cloud_tls: _('Server, TLS'), batch: _('Batches'), retry: _('Retries'),
	reconnect: _('Reconnects'), keepalive: _('Keepalive'), queue: _('Queue'), registry: _('Registry'), rules: _('Rule chains'),
	sync: _('Sync'), report: _('Report'), http: _('Devices, HTTP'), http_tls: _('Devices, HTTPS'), mqtt: _('Devices, MQTT'),
	mqtt_tls: _('Devices, MQTT over TLS'), log: _('Log')
};

// run runs the program; the answer is its output. A missing right or program is its error.
function run(args) {
	return fs.exec(PROGRAM, args).catch(function(e) {
		return { code: -1, stdout: '', stderr: e.message || String(e) };
	});
}

// show puts an answer of `edgesync status --json` into the box.
function show(box, res) {
	let s = null;
	try { s = JSON.parse(res.stdout); } catch (e) {}
	const rows = [];
	const row = function(name, value) {
		rows.push(E('tr', { 'class': 'tr' }, [ E('td', { 'class': 'td left', 'width': '33%' }, [ name ]), E('td', { 'class': 'td left' }, [ value ]) ]));
	};
	if (!s) {
		row(_('State'), res.stderr || _('no answer'));
	} else {
		row(_('State'), s.running ? s.state : _('not running'));
		if (s.health && s.health.text) row(_('What matters most'), s.health.text);
		if (s.last_error) row(_('Last error'), s.last_error);
		row(_('Events'), _('%d accepted, %d delivered, %d waiting, %d refused, %d dropped, %d damaged')
			.format(s.accepted, s.deployed, s.pending, s.dead, s.dropped, s.damaged));
		row(_('Memory'), '%.1f MB'.format((s.rss_bytes || 0) / 1e6));
		const port = /:(\d+)$/.exec(s.http_address || '');
		if (s.running && port) {
			const host = location.hostname.indexOf(':') >= 0 && location.hostname[0] != '[' ? '[' + location.hostname + ']' : location.hostname;
			row(_('Page'), E('a', { 'href': 'http://' + host + ':' + port[1] + '/', 'target': '_blank', 'rel': 'noreferrer' }, [ _('open the page of the agent') ]));
		}
	}
	box.replaceChildren(E('table', { 'class': 'table' }, rows));
}

// test tries the connection with what was saved and applied. rpcd ends what runs for 30 s.
function test(button, out) {
	button.disabled = true;
	out.textContent = _('Testing what was saved and applied; it takes half a minute …');
	L.env.rpctimeout = Math.max(L.env.rpctimeout || 0, 40);
	return run([ 'check', '--connect', '--within=22s' ]).then(function(res) {
		const text = res.stdout + res.stderr;
		const at = text.indexOf('The configuration is fine.');
		out.textContent = at < 0 ? text : text.slice(at);
	}).finally(function() { button.disabled = false; });
}

// The secret goes to a file of its own, and is never read back.
const Secret = form.Value.extend({
	password: true,
	cfgvalue: function() { return null; },
	write: function(section, value) {
		// Without a change of uci nothing else would tell the service.
		return fs.write(SECRET, value.trim() + '\n', 384 /* 0600 */).then(function() { return fs.exec(INIT, [ 'reload' ]); });
	},
	remove: function() {}
});

// option adds the field of a key to a section of the form.
function option(s, k, known) {
	let o;
	if (k.secret) {
		o = s.option(Secret, '_' + k.option, k.option, k.doc);
		o.placeholder = known.secret ? _('unchanged') : '';
		o.rmempty = true;
		return o;
	}
	switch (k.kind) {
	case 'flag':
		o = s.option(form.Flag, k.option, k.option, k.doc);
		o.default = k.def == 'true' ? '1' : '0';
		return o;
	case 'list':
		o = s.option(form.DynamicList, k.option, k.option, k.doc);
		break;
	default:
		o = s.option(k.choices ? form.ListValue : form.Value, k.option, k.option, k.doc);
		if (k.kind == 'number') o.datatype = 'uinteger';
	}
	if (k.choices && k.kind != 'list') o.value('', _('default (%s)').format(k.def));
	for (const c of k.choices || []) o.value(c, c);
	o.placeholder = k.def;
	o.optional = o.rmempty = true;
	return o;
}

return view.extend({
	load: function() {
		return Promise.all([
			uci.load('edgesync'),
			run([ 'status', '--json' ]),
			fs.stat(TOML).then(function() { return true; }, function() { return false; }),
			fs.stat(SECRET).then(function() { return true; }, function() { return false; })
		]);
	},

	render: function(data) {
		const known = { secret: data[3] };
		const box = E('div', {}), out = E('pre', { 'style': 'white-space: pre-wrap' });
		const button = E('button', { 'class': 'btn cbi-button cbi-button-action' }, [ _('Test the connection') ]);
		button.addEventListener('click', function(ev) { ev.preventDefault(); return test(button, out); });
		show(box, data[1]);
		poll.add(function() { return run([ 'status', '--json' ]).then(function(res) { show(box, res); }); }, 5);
		if (data[2])
			ui.addNotification(null, E('p', [ _('The settings below do not count, because there is %s: move it away.').format(TOML) ]), 'warning');

		const m = new form.Map('edgesync', _('Settings'), _('Devices talk to this router as they would to ThingsBoard; every event is on flash before it is accepted.'));
		m.tabbed = true;
		let s = null;
		for (const k of keys.list) {
			if (k.kind == 'tables') {
				s = m.section(form.GridSection, k.section, _('Topics'), k.doc);
				s.anonymous = s.addremove = true;
				for (const f of k.fields) s.option(f == 'flatten' ? form.Flag : form.Value, f, f);
				s = null;
				continue;
			}
			if (!s || s.section != k.section) {
				const type = k.section == 'main' ? 'edgesync' : 'section';
				if (!uci.get('edgesync', k.section)) uci.add('edgesync', type, k.section);
				s = m.section(form.NamedSection, k.section, type, TITLES[k.section] || k.section);
				if (k.section == 'main')
					for (const extra of keys.service) option(s, extra, known);
			}
			option(s, k, known);
		}
		return m.render().then(function(node) {
			return E([], [ E('h2', [ _('edgesync') ]), box, E('p', [ button ]), out, node ]);
		});
	}
});
