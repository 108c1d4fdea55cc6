// Keeps a page fresh. The server renders; this fetches the page again when something happened to it, and changes only
// what differs, so that focus, open details, scroll position and selection stay. One stream per browser: a lock elects
// the tab that listens, the others hear from it.

import {morph} from './morph.js';

const main = document.getElementById('main');
const pill = document.getElementById('pill');
const said = document.getElementById('said');
const QUIET_MS = 250;        // at most four times a second
const STALE_MS = 35_000;     // two heartbeats missed
let skew = 0;                // how far this machine's clock is from the service's
let seq = Number(document.documentElement.dataset.seq);
let state = 'reconnecting', since = Date.now(), heard = Date.now(), paused = false, waiting = false;

// ---- the pill ----

function show(next) {
  if (next && next !== state) {
    if (next === 'stale') say('This page is not live any more');
    if (state === 'stale' && next === 'live') say('This page is live again');
    state = next;
    since = Date.now();
  }
  if (!pill) return;
  const shown = paused ? 'paused' : state;
  pill.dataset.state = shown;
  pill.textContent = shown === 'reconnecting' ? `reconnecting ${Math.round((Date.now() - since) / 1000)} s`
    : shown === 'stale' ? `as of ${new Date(heard).toLocaleTimeString()}` : shown;
}

function say(text) {
  said.textContent = text;
}

pill?.removeAttribute('hidden');
pill?.addEventListener('click', pause);

function pause() {
  paused = !paused;
  show();
  if (!paused) refresh();
}

// ---- what concerns this page ----

const idOf = value => value && typeof value === 'object' ? value.id : value;

function concerns(event) {
  const wanted = main.dataset.live ?? '';
  if (wanted === '') return false;
  if (wanted === 'all') return true;
  const body = event.body ?? event;
  return wanted.split(' ').some(token => {
    const [key, id] = token.split('=');
    if (id === undefined) return (event.kind ?? body.kind ?? '').startsWith(key);
    if (String(idOf(body[key])) === id) return true;
    return body.verdict && String(body.verdict[key]) === id;
  });
}

function happened(number, data) {
  heard = Date.now();
  if (number && number <= seq) return;
  if (number) seq = number;
  let event = {};
  try { event = JSON.parse(data); } catch { /* what cannot be read concerns everybody */ return refresh(); }
  if (concerns(event)) refresh();
}

// ---- the page again ----

let timer = 0, busy = false, again = false, took = 0;

function refresh() {
  if (paused || document.hidden) { waiting = true; return; }
  if (busy) { again = true; return; }
  if (timer) return;
  timer = setTimeout(load, Math.max(QUIET_MS, took * 4));
}

function load() {
  timer = 0;
  busy = true;
  waiting = false;
  const begun = performance.now();
  // A document by XMLHttpRequest is parsed by the browser without scripts and without any HTML sink here.
  const request = new XMLHttpRequest();
  request.open('GET', location.pathname + location.search);
  request.responseType = 'document';
  request.timeout = 15_000;
  request.onloadend = () => {
    took = performance.now() - begun;
    busy = false;
    const page = request.response, fresh = page?.getElementById('main');
    const served = Date.parse(request.getResponseHeader('date'));
    if (Math.abs(served - Date.now()) > 3000) skew = served - Date.now();
    if (request.status === 200 && fresh) apply(page, fresh);
    if (again) { again = false; refresh(); }
  };
  request.send();
}

function apply(page, fresh) {
  const before = main.querySelector('h1 .word')?.textContent;
  morph(main, fresh);
  for (const id of ['nav', 'foot']) {
    const mine = document.getElementById(id), theirs = page.getElementById(id);
    if (mine && theirs) morph(mine, theirs);
  }
  document.title = page.title;
  seq = Math.max(seq, Number(page.documentElement.dataset.seq) || 0);
  const now = main.querySelector('h1 .word')?.textContent;
  if (before && now && before !== now) say(`${main.querySelector('h1').textContent.replace(/\s+/g, ' ').trim()}`);
  tick();
  document.dispatchEvent(new CustomEvent('gristmill:fresh'));
}

// ---- the stream ----

const channel = 'BroadcastChannel' in window ? new BroadcastChannel('gristmill-live') : null;
let source = null, lead = false;

function open() {
  source?.close();
  source = new EventSource(`/api/v1/events/stream?since=${seq}`);
  const hear = event => {
    const number = Number(event.lastEventId) || 0;
    channel?.postMessage({number, data: event.data});
    happened(number, event.data);
    now('live');
  };
  source.onopen = () => { heard = Date.now(); now('live'); };
  source.onmessage = hear;
  source.addEventListener('reset', event => {
    seq = Number(event.lastEventId) || seq;
    channel?.postMessage({reset: true});
    refresh();
  });
  source.onerror = () => {
    now('reconnecting');
    // A refused stream is not opened again by the browser.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => lead && open(), 3000);
  };
}

function now(next) {
  if (state !== 'stale' || next === 'live') show(next);
  channel?.postMessage({state: next, seq});
}

channel?.addEventListener('message', ({data}) => {
  if (lead) {
    if (data.ask) now(state);
    return;
  }
  heard = Date.now();
  if (data.state) {
    show(data.state);
    // What happened between the making of this page and the first word of the leading tab.
    if (data.seq > seq) { seq = data.seq; refresh(); }
  } else if (data.reset) refresh();
  else happened(data.number, data.data);
});

async function start() {
  const follow = () => new Promise(() => { lead = true; open(); });
  if (channel && navigator.locks) {
    channel.postMessage({ask: true});
    navigator.locks.request('gristmill-live', follow).catch(() => follow());
  } else follow();
}

if (main.dataset.live) {
  show();
  start();
  addEventListener('pagehide', () => source?.close());
  addEventListener('pageshow', event => { if (event.persisted) { if (lead) open(); refresh(); } });
  document.addEventListener('visibilitychange', () => { if (!document.hidden && waiting) refresh(); });
  setInterval(() => {
    if (state === 'reconnecting' && Date.now() - heard > STALE_MS) show('stale');
    else show();
  }, 1000);
} else pill?.setAttribute('hidden', '');

// ---- times ----

function span(seconds) {
  const s = Math.max(0, Math.floor(seconds)), two = number => String(number).padStart(2, '0');
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} m`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}


function tick() {
  const at = Date.now() + skew;
  for (const time of main.querySelectorAll('time')) {
    const then = Date.parse(time.dateTime), seconds = (at - then) / 1000;
    let text;
    if (time.classList.contains('tick')) text = span(seconds);
    else if (time.classList.contains('until')) text = seconds < 0 ? `in ${span(-seconds)}` : 'now';
    else if (seconds < 86_400 * 7) text = seconds < 5 ? 'just now' : `${span(seconds)} ago`;
    else continue;
    if (!time.title || time.dataset.utc) {
      time.dataset.utc ??= time.title;
      time.title = `${new Date(then).toLocaleString()} (${time.dataset.utc})`;
      delete time.dataset.utc;
    }
    if (time.textContent !== text) time.textContent = text;
  }
}

tick();
setInterval(() => document.hidden || tick(), 1000);

// ---- keys and small helps ----

document.addEventListener('keydown', event => {
  const typing = event.target.closest?.('input, textarea, select');
  if (typing) { if (event.key === 'Escape') event.target.blur(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === '/') { event.preventDefault(); document.querySelector('.bar input')?.focus(); }
  if (event.key === 'p' && main.dataset.live) pause();
  if (event.key === 'j' || event.key === 'k') {
    const rows = [...main.querySelectorAll('.rows > li a, .table tbody tr td:first-child a, .steps a, .incident h3 a')];
    const at = rows.indexOf(document.activeElement) + (event.key === 'j' ? 1 : -1);
    rows[Math.min(Math.max(at, 0), rows.length - 1)]?.focus();
  }
});

document.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  await navigator.clipboard?.writeText(button.dataset.copy || location.href);
  say('Copied');
});

document.addEventListener('submit', event => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});
