// Keys.

/** The next or last event: an operation, a fault, the first failure of a while. */
function jump(isForward) {
  const moments = run.page.lanes.bars.flatMap((it) => [it.from_s, it.to_s, ...it.ticks]).concat(run.page.lanes.marks.map((it) => it.at_s));
  if (run.page.course) {
    const loads = linesOf(run.page.course, 'load');
    const failed = (i) => i >= 0 && sum(loads.map((it) => number(it, 'failed', i))) > 0;
    for (let i = 0; i < view.windows; i++) if (failed(i) && !failed(i - 1)) moments.push(view.edges[i]);
  }
  const here = (look.at ?? look.t[0]) / SECOND;
  const sorted = [...new Set(moments)].sort((a, b) => a - b);
  const next = isForward ? sorted.find((it) => it > here + 1e-6) : sorted.reverse().find((it) => it < here - 1e-6);
  if (next === undefined) return;
  const span = look.t[1] - look.t[0];
  point(next * SECOND);
  setExtent(next * SECOND - span / 2, next * SECOND + span / 2, true);
  loadSteps();
}

/** The next message of the request, of those that match, or of all; or the one before. */
function step(by) {
  const those = [];
  space.each((m) => { if (space.matches ? space.matches.has(m.record) : look.req && space.hasOwn ? m.fate & FATE.OWN : true) those.push(m); });
  if (!those.length) { shift(by > 0 ? 0.25 : -0.25); return; }
  those.sort((a, b) => a.sent - b.sent || a.record - b.record);
  const here = those.findIndex((m) => m.record === look.rec || m.end === look.rec);
  const from = here >= 0 ? here : those.findIndex((m) => m.sent >= (look.at ?? look.t[0])) - (by > 0 ? 1 : 0);
  const next = those[Math.min(Math.max(from + by, 0), those.length - 1)];
  if (next) choose(next.record, { isNew: true, keepsExtent: false });
}

function help() {
  const keys = [['← →', 'the message before or after, with Shift ten'], ['+ -', 'zoom'], ['0', 'the whole run'], ['[ ]', 'last or next operation, fault or failure'], ['/', 'filter'], ['n N', 'next or last match'],
    ['w', 'all of the request'], ['drag', 'move; with Shift choose an extent'], ['Ctrl wheel', 'zoom at the pointer'], ['Esc', 'choose nothing'], ['?', 'this list']];
  const box = el('dialog', { 'aria-label': 'Keys', close: () => box.remove() }, table(['key', 'what it does'], keys),
    el('form', { method: 'dialog' }, el('p', null, el('button', null, 'Close'))));
  document.body.append(box);
  box.showModal();
}

function theme(name) {
  if (name) { if (name === 'auto') asked.delete('theme'); else asked.set('theme', name); history.replaceState(null, '', '#' + asked); }
  const wanted_ = ['light', 'dark'].includes(asked.get('theme')) ? asked.get('theme') : null;
  if (wanted_) document.documentElement.dataset.theme = wanted_;
  else delete document.documentElement.dataset.theme;
  document.querySelectorAll('[data-name]').forEach((it) => it.setAttribute('aria-pressed', String(it.dataset.name === (wanted_ || 'auto'))));
  if (space && look.t) paintExtent();
}

async function copyLink() {
  remember(false);
  let words = 'link copied';
  try { await navigator.clipboard.writeText(location.href); } catch { words = 'the address of this page is the link'; }
  document.getElementById('live').textContent = words;
  const say = document.querySelector('#bar .facts');
  const before = say.textContent;
  say.textContent = words;
  setTimeout(() => { say.textContent = before; }, 1500);
}

function key(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest('input, select, textarea, dialog')) return;
  const middle = look.at !== null && look.at >= look.t[0] && look.at <= look.t[1] ? look.at : (look.t[0] + look.t[1]) / 2;
  const far = event.shiftKey ? 10 : 1;
  switch (event.key) {
    case 'ArrowRight': step(far); break;
    case 'ArrowLeft': step(-far); break;
    case '+': case '=': zoomAt(middle, 1 / 1.5); remember(true); break;
    case '-': zoomAt(middle, 1.5); remember(true); break;
    case '0': setExtent(...whole(), true); break;
    case 'w': if (drawn) setExtent(drawn.due_ns - drawn.latency_ns * 0.03, drawn.due_ns + drawn.latency_ns * 1.03, true); break;
    case '/': document.getElementById('filter')?.focus(); break;
    case 'n': match(true); break;
    case 'N': match(false); break;
    case '[': jump(false); break;
    case ']': jump(true); break;
    case '?': help(); break;
    case 'Escape': unchoose(); remember(true); break;
    default: return;
  }
  event.preventDefault();
}

// The page.

async function show() {
  recall();
  theme();
  const filter = document.getElementById('filter');
  if (filter) filter.value = look.q;
  const first = run.requests.slowest[0]?.request ?? run.requests.failures[0]?.request ?? null;
  const isNew = !look.t && !look.req && look.rec === null && !run.goes_on;
  if (look.t) { space.extent = look.t; space.cursor = look.at; }
  const asks = { record: look.rec, who: look.who, at: look.at };
  if (!look.t && !(look.req || first)) setExtent(...whole(), false);
  if (run.goes_on && !look.t) setExtent(...whole(), false);
  if (run.goes_on && !look.req) parts.request.body.replaceChildren(el('p', { class: 'mut' }, 'Click a moment of the course for its slowest request.'));
  if (look.req || (isNew && first)) await chooseRequest(look.req ?? first, { isNew: false, isLed: isNew || (!asked.has('t') && asks.record === null) });
  if (!look.t) setExtent(...whole(), false);
  if (asks.record !== null) await choose(asks.record, { isNew: false, keepsExtent: asked.has('t') });
  else if (!isNew || !first) unchoose();
  if (asks.at !== null) point(asks.at);
  if (asks.who !== null) look.who = asks.who;
  if (look.q) search(look.q, false);
  space.extent = look.t;
  loadSoon();
  loadActorSoon();
  loadSteps();
  paintExtent();
}

let lastWidth = 0;
function resized() {
  const width = document.querySelector('main').clientWidth;
  if (width === lastWidth || !run) return;
  lastWidth = width;
  drawCourse();
  if (drawn) drawRequest();
  if (look.t) paintExtent();
}

/** While the trace is being read, or the run is being written, what is known of it grows. */
async function readOn() {
  while (!ANSWERS && !run.is_read) {
    await new Promise((done) => setTimeout(done, run.goes_on ? 1000 : 500));
    let next;
    try {
      next = await ask('run', '/api/run');
    } catch { continue; }
    const hadNone = !run.requests.ended;
    const grew = run.goes_on;
    const [first, last] = whole();
    const isAtEnd = look.t && look.t[1] >= last;
    run = next;
    space.down = run.down;
    sayFacts();
    kept.clear();
    if (grew) {
      parts.request.made.hidden = !run.requests.ended;
      drawCourse();
      loadSteps();
      // The extent that shows the end, or all, goes on to do so.
      if (isAtEnd) setExtent(look.t[0] <= first ? first : look.t[0] + whole()[1] - last, whole()[1], false);
      else paintExtent();
    } else if (!space.messages?.is_whole) { space.messages = null; loadSoon(); }
    if (hadNone && run.requests.ended) { parts.request.made.hidden = false; drawCourse(); }
  }
  if (run.trouble) banner(`The trace ends at ${when(run.last_ns)}: ${run.trouble}`, 'ends');
}

async function start() {
  theme();
  try {
    run = await ask('run', '/api/run');
  } catch (error) {
    banner(`The run cannot be shown: ${error.message}`, 'ends');
    return;
  }
  build();
  parts.request.made.hidden = !run.requests.ended;
  drawCourse();
  lastWidth = document.querySelector('main').clientWidth;
  document.addEventListener('keydown', key);
  addEventListener('popstate', show);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => paintExtent());
  new ResizeObserver(() => requestAnimationFrame(resized)).observe(document.querySelector('main'));
  if (run.is_read || ANSWERS) await readOn();
  await show();
  document.documentElement.dataset.ready = '1';
  if (!run.is_read) readOn();
}

start();
