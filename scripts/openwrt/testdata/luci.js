// Stand-ins for what LuCI gives to a page, around luci/main.js and luci/keys.js. Prints what the page
// did as JSON.
'use strict';
const fs_ = require('fs'), path = require('path');
const did = { Sections: [], Fields: {}, Box: [], Link: '', Ran: [], Output: '', Written: [], Warnings: [], Added: [] };

String.prototype.format = function(...args) {
	return this.replace(/%(\.\d+)?([dsf])/g, (_, digits, kind) => {
		const v = args.shift();
		return kind == 'f' ? Number(v).toFixed(digits ? +digits.slice(1) : 6) : String(v);
	});
};
class Node {
	constructor(name, attrs, children) {
		this.name = name; this.attrs = attrs || {}; this.children = [].concat(children || []); this.listeners = {}; this.textContent = '';
	}
	addEventListener(what, fn) { this.listeners[what] = fn; }
	replaceChildren(...list) { this.children = list; }
	walk(fn) { fn(this); for (const c of this.children) c instanceof Node ? c.walk(fn) : fn(c); }
}
const E = (name, attrs, children) => Array.isArray(attrs) ? new Node(name, {}, attrs) : new Node(name, attrs, children);
const _ = s => s;
const L = { env: { rpctimeout: 20 } };
const location = { hostname: 'fe80::1' };

const baseclass = { extend: o => o };
const view = { extend: o => o };
const fields = [];
class Value {
	constructor(section, name, title, doc) { Object.assign(this, { section, option: name, title, doc, choices: [] }); }
	value(v, text) { this.choices.push([ v, text ]); }
	static extend(o) { const c = class Secret extends this {}; Object.assign(c.prototype, o); return c; }
}
class Flag extends Value {}
class ListValue extends Value {}
class DynamicList extends Value {}
class Section {
	constructor(kind, name) { this.kind = kind; this.section = name; }
	option(cls, name, title, doc) {
		const o = new cls(this.section, name, title, doc);
		fields.push(o);
		(did.Fields[this.section] = did.Fields[this.section] || []).push(this.section + ': ' + cls.name + ' ' + name);
		return o;
	}
}
const form = {
	Value, Flag, ListValue, DynamicList, NamedSection: 'NamedSection', GridSection: 'GridSection',
	Map: class {
		constructor(config) { if (config != 'edgesync') throw new Error('another configuration'); }
		section(kind, name) { did.Sections.push(kind + ' ' + name); return new Section(kind, name); }
		render() { return Promise.resolve(new Node('form')); }
	}
};
const uci = {
	sections: { main: {}, cloud: {} },
	load: () => Promise.resolve(),
	get: (config, name) => uci.sections[name],
	add: (config, type, name) => { uci.sections[name] = {}; did.Added.push(type + ' ' + name); }
};
const status = { running: true, health: { text: 'All is well' }, state: 'connected', accepted: 5, deployed: 3, pending: 2, dead: 0, dropped: 0, damaged: 0, rss_bytes: 9e6, http_address: '[::]:8080' };
const fs = {
	exec: (program, args) => {
		did.Ran.push([ program ].concat(args).join(' '));
		return Promise.resolve(args[0] == 'status' ? { code: 0, stdout: JSON.stringify(status), stderr: '' }
			: { code: 0, stdout: 'cloud.host x\n\nThe configuration is fine.\n\n✔ key', stderr: '' });
	},
	stat: () => Promise.resolve({}),
	write: (name, text, mode) => { did.Written.push(name + ' ' + mode.toString(8) + ' ' + text); return Promise.resolve(); }
};
let every = null;
const poll = { add: (fn, seconds) => { if (seconds != 5) throw new Error('polls every ' + seconds); every = fn; } };
const ui = { addNotification: (title, node) => node.walk(n => { if (typeof n == 'string') did.Warnings.push(n); }) };

function load(file, names, values) {
	const text = fs_.readFileSync(path.join(__dirname, '..', 'luci', file), 'utf8');
	return new Function(...names, text)(...values);
}
(async function() {
	const keys = load('keys.js', [ 'baseclass' ], [ baseclass ]);
	const names = { view, form, uci, fs, poll, ui, keys, E, _, L, location };
	const page = load('main.js', Object.keys(names), Object.values(names));
	const node = await page.render(await page.load());
	await every();
	let button = null, out = null;
	node.walk(n => {
		if (typeof n == 'string') did.Box.push(n);
		if (n.name == 'button') button = n;
		if (n.name == 'pre') out = n;
		if (n.name == 'a') did.Link = n.attrs.href;
	});
	await button.listeners.click({ preventDefault() {} });
	did.Output = out.textContent;
	const secret = fields.find(f => f.option == '_routing_secret');
	if (secret.cfgvalue() !== null) throw new Error('the secret is read back');
	await secret.write('cloud', ' s3cr3t ');
	console.log(JSON.stringify(did));
})().catch(e => { console.error(e); process.exit(1); });
