// The log viewer: any line of a log of any length in a few dozen elements.
//
// Lines are 20 px, so a place is arithmetic. Up to WINDOW lines scroll natively; of longer logs the element shows a
// window, which is moved when the view rests near its edge: same lines, other base. Short logs that are over stay as
// the server rendered them, so that the browser's own search works.

const LINE = 20, CHUNK = 256, CLUSTER = 64, WINDOW = 200_000, CHUNKS_KEPT = 48, STATIC_MAX = 250;

let viewer = null;

function mount() {
  const box = document.getElementById('log');
  if (!box || viewer?.box === box) return;
  viewer?.end();
  viewer = new Viewer(box);
}

class Viewer {
  constructor(box) {
    this.box = box;
    this.url = box.dataset.lines;
    this.total = Number(box.dataset.total);
    this.bytes = Number(box.dataset.bytes);
    this.complete = box.dataset.complete === 'true';
    this.errors = (box.dataset.errors || '').split(',').filter(Boolean).map(Number);
    this.area = box.querySelector('.lines');
    this.stop = new AbortController();
    this.chunks = new Map();
    this.clusters = new Map();
    this.hits = [];
    this.hit = -1;
    this.error = -1;
    this.base = 0;
    this.following = false;
    this.marked = range(location.hash);
    this.static = this.complete && this.total <= STATIC_MAX;
    this.tools();
    if (this.static) this.still();
    else this.virtual();
    if (!this.complete) this.wait();
  }

  end() {
    this.stop.abort();
  }

  on(target, name, act, options = {}) {
    target.addEventListener(name, act, {signal: this.stop.signal, ...options});
  }

  // ---- the tool bar ----

  tools() {
    const {box} = this;
    box.querySelectorAll('[data-js]').forEach(element => element.removeAttribute('hidden'));
    box.querySelectorAll('.pages').forEach(element => element.setAttribute('hidden', ''));
    this.count = box.querySelector('[data-count]');
    this.found = box.querySelector('[data-found]');
    this.followButton = box.querySelector('[data-act="follow"]');
    if (this.complete) this.followButton?.setAttribute('hidden', '');
    if (!this.errors.length) box.querySelectorAll('[data-act="error"]').forEach(button => button.setAttribute('hidden', ''));
    this.on(box, 'click', event => {
      const act = event.target.closest('[data-act]')?.dataset.act;
      if (act) this.act(act, event.shiftKey);
      const number = event.target.closest('.g');
      if (number) this.pick(number, event);
    });
    this.on(box, 'submit', event => { event.preventDefault(); this.search(event.target.q.value); });
    this.on(document, 'keydown', event => {
      if (event.target.closest?.('input, textarea, select') || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = {e: 'error', E: 'error', n: 'hit', N: 'hit', f: 'follow', y: 'link', G: 'end', Home: 'start', End: 'end'}[event.key];
      if (!act || (act === 'start' || act === 'end') && event.key.length > 1 && document.activeElement !== this.area) return;
      event.preventDefault();
      this.act(act, event.shiftKey);
    });
    this.on(window, 'hashchange', () => { this.marked = range(location.hash); this.mark(); this.jump(this.marked?.[0]); });
  }

  act(act, back) {
    const step = (list, at) => list.length ? (at + (back ? -1 : 1) + list.length) % list.length : -1;
    if (act === 'error') { this.error = step(this.errors, this.error); this.jump(this.errors[this.error], true); }
    if (act === 'hit') { this.hit = step(this.hits, this.hit); this.jump(this.hits[this.hit], true); this.tell(); }
    if (act === 'follow') this.follow(!this.following);
    if (act === 'start') this.jump(1);
    if (act === 'end') { this.jump(this.total); if (!this.complete) this.follow(true); }
    if (act === 'link') this.copy();
  }

  async search(text) {
    this.hits = [];
    this.hit = -1;
    let from = 1;
    while (text && from && this.hits.length < 5000 && !this.stop.signal.aborted) {
      const answer = await get(`${this.url}/search?q=${encodeURIComponent(text)}&from=${from}`, this.stop.signal);
      if (!answer) break;
      this.hits.push(...answer.hits);
      from = answer.next;
      if (this.hit < 0 && this.hits.length) this.act('hit', false);
      this.tell();
    }
    this.mark();
    this.tell();
  }

  tell() {
    if (this.found) this.found.textContent = this.hits.length ? `${this.hit + 1} of ${this.hits.length}` : 'none';
  }

  copy() {
    const place = new URL(location.href);
    place.searchParams.set('step', this.box.dataset.step);
    if (this.marked) place.searchParams.set('from', Math.max(1, this.marked[0] - 3));
    navigator.clipboard?.writeText(place.href);
    document.getElementById('said').textContent = 'Link copied';
  }

  pick(number, event) {
    const line = Number(number.dataset.n)
      || Number(number.dataset.first) + Math.floor((event.clientY - number.getBoundingClientRect().top) / LINE);
    event.preventDefault();
    const from = event.shiftKey && this.marked ? this.marked[0] : line;
    this.marked = [Math.min(from, line), Math.max(from, line)];
    const hash = this.marked[0] === this.marked[1] ? `#L${line}` : `#L${this.marked[0]}-L${this.marked[1]}`;
    history.replaceState(null, '', `?step=${this.box.dataset.step}${hash}`);
    this.follow(false);
    this.mark();
  }

  // ---- a short log stays as it is ----

  still() {
    this.mark();
    this.jump(this.marked?.[0]);
  }

  // ---- a long one is drawn where it is looked at ----

  virtual() {
    const {area} = this;
    area.replaceChildren();
    area.classList.add('virtual');
    area.tabIndex = 0;
    this.tall = area.appendChild(make('div', 'tall'));
    this.ruler = this.box.querySelector('.ruler');
    this.size();
    this.on(area, 'scroll', () => this.draw(), {passive: true});
    this.on(area, 'scrollend', () => this.rest());
    this.on(area, 'wheel', event => { if (event.deltaY < 0) this.follow(false); }, {passive: true});
    this.on(area, 'keydown', event => { if (['PageUp', 'ArrowUp', 'Home'].includes(event.key)) this.follow(false); });
    this.on(window, 'resize', () => { this.size(); this.draw(); });
    if (this.ruler) this.on(this.ruler, 'input', () => { this.follow(false); this.jump(Number(this.ruler.value)); });
    const wanted = this.marked?.[0] ?? (this.complete ? Number(this.box.dataset.open) || 1 : 0);
    if (wanted) this.jump(wanted);
    else this.follow(true);
    this.mark();
    this.draw();
  }

  size() {
    const lines = Math.min(this.total, WINDOW), room = Math.max(360, innerHeight - 190);
    this.tall.style.height = `${lines * LINE}px`;
    this.area.style.height = `${Math.min(room, Math.max(lines * LINE + 18, 120))}px`;
    if (this.count) this.count.textContent = `${this.total.toLocaleString('en')} lines`;
    if (this.ruler) {
      this.ruler.hidden = this.total <= WINDOW;
      this.ruler.max = this.total;
    }
  }

  jump(line, mark = false) {
    if (!line) return;
    const at = Math.min(Math.max(line, 1), Math.max(this.total, 1));
    if (mark) { this.marked = [at, at]; this.mark(); history.replaceState(null, '', `?step=${this.box.dataset.step}#L${at}`); }
    if (this.static) {
      document.getElementById(`L${at}`)?.scrollIntoView({block: 'center'});
      return;
    }
    if (mark || this.marked) this.box.scrollIntoView({block: 'nearest'});
    if (at < this.total) this.follow(false);
    if (this.total > WINDOW) this.rebase(at);
    this.area.scrollTop = (at - 1 - this.base) * LINE - this.area.clientHeight / 3;
    this.draw();
  }

  /** Moves the window so that `line` lies in its middle. */
  rebase(line) {
    const base = Math.min(Math.max(0, Math.floor((line - WINDOW / 2) / CLUSTER) * CLUSTER), Math.max(0, this.total - WINDOW));
    if (base === this.base) return;
    this.base = base;
    for (const cluster of this.clusters.values()) cluster.style.transform = `translateY(${(cluster.first - base) * LINE}px)`;
    this.mark();
  }

  rest() {
    if (this.total <= WINDOW) return;
    const top = this.area.scrollTop, quarter = WINDOW * LINE / 4, old = this.base;
    if (top > quarter && top < 3 * quarter) return;
    this.rebase(this.base + Math.floor(top / LINE));
    if (this.base !== old) this.area.scrollTop = top + (old - this.base) * LINE;
    this.draw();
  }

  draw() {
    const {area, base} = this, top = area.scrollTop, height = area.clientHeight;
    const first = Math.floor((base + top / LINE) / CLUSTER) - 1;
    const last = Math.floor((base + (top + height) / LINE) / CLUSTER) + 1;
    const selected = getSelection();
    for (const [index, cluster] of this.clusters) {
      const held = !selected.isCollapsed && selected.containsNode(cluster, true);
      if ((index < first || index > last) && !held) { cluster.remove(); this.clusters.delete(index); }
    }
    for (let index = Math.max(0, first); index <= last && index * CLUSTER < this.total; index++) {
      if (!this.clusters.has(index)) this.cluster(index);
    }
    if (this.ruler && document.activeElement !== this.ruler) this.ruler.value = Math.round(base + top / LINE) + 1;
    const atEnd = base + (top + height) / LINE >= this.total - 1;
    if (!this.complete && atEnd && !this.following && !this.marked && this.drawn) this.follow(true, true);
    this.drawn = true;
  }

  async cluster(index) {
    const element = make('div', 'k');
    element.first = index * CLUSTER;
    element.style.transform = `translateY(${(element.first - this.base) * LINE}px)`;
    this.clusters.set(index, element);
    this.tall.append(element);
    await this.fill(index, element);
  }

  async fill(index, element) {
    const lines = await this.chunk(Math.floor(index * CLUSTER / CHUNK));
    if (!lines || this.clusters.get(index) !== element) return;
    const within = index * CLUSTER % CHUNK, mine = lines.slice(within, within + CLUSTER);
    const numbers = make('pre', 'g'), text = make('pre', 't');
    numbers.dataset.first = element.first + 1;
    numbers.setAttribute('aria-hidden', 'true');
    numbers.textContent = mine.map((_, offset) => element.first + offset + 1).join('\n');
    mine.forEach((runs, offset) => {
      if (offset) text.append('\n');
      for (let at = 0; at < runs.length; at += 2) text.append(run(runs[at], runs[at + 1]));
    });
    element.replaceChildren(numbers, text);
  }

  async chunk(number) {
    const kept = this.chunks.get(number);
    if (kept) return (await kept)?.lines;
    const wanted = get(`${this.url}?from=${number * CHUNK + 1}&count=${CHUNK}`, this.stop.signal);
    this.chunks.set(number, wanted);
    if (this.chunks.size > CHUNKS_KEPT) this.chunks.delete(this.chunks.keys().next().value);
    const answer = await wanted;
    if (!answer) this.chunks.delete(number);
    return answer?.lines;
  }

  // ---- marks ----

  mark() {
    if (this.static) {
      for (const line of this.area.querySelectorAll('.l')) {
        const number = Number(line.id.slice(1));
        line.classList.toggle('mark', !!this.marked && number >= this.marked[0] && number <= this.marked[1]);
      }
      return;
    }
    if (!this.tall) return;
    this.tall.querySelectorAll('.band').forEach(band => band.remove());
    const band = (from, to, kind) => {
      if (to <= this.base || from > this.base + WINDOW) return;
      const element = this.tall.insertBefore(make('div', `band ${kind}`), this.tall.firstChild);
      element.style.transform = `translateY(${(from - 1 - this.base) * LINE}px)`;
      element.style.height = `${(to - from + 1) * LINE}px`;
    };
    this.hits.slice(0, 500).forEach(line => band(line, line, 'found'));
    this.errors.forEach(line => band(line, line, 'err'));
    if (this.marked) band(...this.marked, 'mark');
  }

  // ---- following ----

  follow(on, quietly = false) {
    if (this.static || this.complete && on) return;
    this.following = on;
    // Whoever has left the end is reading: the next step's log must not take the place of this one.
    this.box.toggleAttribute('data-hold', !on);
    this.followButton?.setAttribute('aria-pressed', String(on));
    if (on && !quietly) this.toEnd();
  }

  toEnd() {
    if (this.total > WINDOW) this.rebase(this.total);
    this.area.scrollTop = this.area.scrollHeight;
    this.draw();
  }

  /** Asks for what has been added, for as long as the step runs; the server answers when there is more. */
  async wait() {
    let failures = 0;
    while (!this.complete && !this.stop.signal.aborted) {
      if (document.hidden) await new Promise(seen => document.addEventListener('visibilitychange', seen, {once: true}));
      const answer = await get(`${this.url}?after=${this.bytes}`, this.stop.signal);
      if (!answer) {
        failures++;
        await new Promise(wake => setTimeout(wake, Math.min(1000 * 2 ** failures, 15_000)));
        continue;
      }
      failures = 0;
      this.grow(answer);
      await new Promise(wake => setTimeout(wake, 200));
    }
  }

  grow({total, bytes, complete, errors}) {
    const grown = bytes !== this.bytes, before = this.total;
    this.total = total;
    this.bytes = bytes;
    this.complete = complete;
    this.errors = errors ?? this.errors;
    if (this.errors.length) this.box.querySelectorAll('[data-act="error"]').forEach(button => button.removeAttribute('hidden'));
    if (complete) this.followButton?.setAttribute('hidden', '');
    if (!grown) return;
    // The last lines were not whole; they are fetched again.
    this.chunks.delete(Math.floor(Math.max(0, before - 1) / CHUNK));
    this.size();
    const stale = Math.floor(Math.max(0, before - 1) / CLUSTER), element = this.clusters.get(stale);
    if (element) this.fill(stale, element);
    if (this.following) this.toEnd();
    else this.draw();
    this.mark();
    if (complete) this.following = false;
  }
}

function make(name, className) {
  const element = document.createElement(name);
  element.className = className;
  return element;
}

function run(text, look) {
  if (!look) return text;
  const [, href, classes] = /^(?:@(\S+) ?)?(.*)$/.exec(look);
  const element = make(href ? 'a' : 'i', classes);
  if (href && /^https?:\/\//.test(href)) {
    element.href = href;
    element.rel = 'noopener noreferrer nofollow';
  }
  element.textContent = text;
  return element;
}

function range(hash) {
  const found = /^#L(\d+)(?:-L(\d+))?$/.exec(hash);
  if (!found) return null;
  const from = Number(found[1]), to = Number(found[2] ?? found[1]);
  return [Math.min(from, to), Math.max(from, to)];
}

async function get(url, signal) {
  try {
    const answer = await fetch(url, {signal, headers: {accept: 'application/json'}});
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

mount();
document.addEventListener('gristmill:fresh', mount);
