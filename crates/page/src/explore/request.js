// A request.

async function chooseRequest(name, { isNew, isLed }) {
  look.req = name;
  await answered(parts.request.body, () => ask('request', `/api/request?name=${encodeURIComponent(name)}`), (it) => {
    drawn = { ...it.drawn, records: it.records };
    space.bars = barsOf(drawn);
    space.hasOwn = true;
    drawRequest();
    if (isLed || !look.t) lead();
    else if (told?.message?.request === drawn.request) showMessage();
    if (isNew) remember(true);
    space.messages = null;
    loadSoon();
  });
}

/** Where to look first in a request: at what was lost or given up in it, or at all of it. */
function lead() {
  const { due_ns, latency_ns, rows } = drawn;
  const bad = rows.findIndex((it) => it.failure && it.is_critical);
  const place = bad >= 0 ? bad : rows.findIndex((it) => it.failure);
  const span = place >= 0 && latency_ns > 40e6 ? Math.min(Math.max(latency_ns / 50, 6e6), 30e6) : latency_ns * 1.06;
  const sent = due_ns + (place >= 0 ? rows[place].sent_ns : 0);
  if (place >= 0) setExtent(sent - span * 0.55, sent + span * 0.45, false);
  else setExtent(due_ns - latency_ns * 0.03, due_ns + span, false);
  const record = drawn.records[Math.max(place, 0)] ?? drawn.records.find((it) => it !== null);
  if (record !== undefined && record !== null) choose(record, { isNew: false, keepsExtent: true });
  else point(sent);
}

/** What instances did for a request, on their nodes' lines. */
function barsOf(of) {
  return of.rows.flatMap((row) => row.bits.filter((bit) => row.node !== null && ['work', 'cores', 'queue'].includes(bit.kind))
    .map((bit) => ({ node: row.node, from: of.due_ns + bit.from_ns, to: of.due_ns + bit.to_ns, kind: bit.kind })));
}

const failureWords = (row) => ({ timeout: 'timed out', lost: 'lost: its node went down', no_instance: 'no instance', refused: 'refused', error: 'error', cut: 'cut' })[row.failure] ?? row.failure;

function drawRequest() {
  const { head, why, body } = parts.request;
  const { requests } = run;
  head.textContent = `Request ${short(drawn.request, 40)}`;
  const isSlowest = requests.slowest[0]?.request === drawn.request;
  why.textContent = `${drawn.endpoint}, ${drawn.failure ? 'failed (' + drawn.failure.replace('_', ' ') + ')' : 'done'} after ${time(drawn.latency_ns)}`
    + (isSlowest ? `, slowest of ${count(requests.done)}${ANSWERS ? ' in this file' : ''}` : '') + (drawn.retries ? `, ${count(drawn.retries)} ${drawn.retries === 1 ? 'retry' : 'retries'}` : '')
    + '. Amber: in a queue; blue: work; pale: waits for its calls; ×: given up';
  const box = el('div', { class: 'plot', id: 'waterfall' });
  const picture = svg('svg', { role: 'group', 'aria-label': `Where the time of ${drawn.request} went: ${drawn.parts.slice(0, 3).map(partWords).join(', ')}` });
  box.append(picture);
  body.replaceChildren(box);
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  const isNarrow = width < 620;
  const left = isNarrow ? 8 : Math.min(226, width * 0.27);
  const end = drawn.latency_ns;
  const frame = { svg: picture, width, isNarrow, left, right: width - (isNarrow ? 62 : 120), box };
  frame.x = linear(drawn.due_ns, drawn.due_ns + end, left, frame.right);
  const X = (ns) => frame.x(drawn.due_ns + ns);
  const unit = end > 2e9 ? [SECOND, 's'] : end > 2e6 ? [1e6, 'ms'] : [1e3, 'µs'];
  const grid = svg('g');
  picture.append(grid);
  const marks = ticks(0, end / unit[0], isNarrow ? 3 : 6);
  marks.forEach((mark, i) => {
    const x = X(mark * unit[0]);
    const words = i === 0 ? `0 = ${when(drawn.due_ns)}` : i === marks.length - 1 ? `${mark} ${unit[1]}` : String(mark);
    const first = `0 = ${when(drawn.due_ns)}`;
    if (i === 0 || x - wide(words) / 2 > X(0) + wide(first)) text(frame, i === 0 ? Math.max(x, 0) : x, 12, words, i === 0 ? null : 'mid');
  });
  let y = 20;
  if (!isNarrow) text(frame, 0, y + 12, 'critical path', 'strong');
  for (const bit of drawn.path) bitRect(frame, X, bit, y, 14);
  y = sentence(frame, y + 22, left);
  drawn.rows.forEach((row, index) => { y = drawRow(frame, X, row, index, y); });
  if (drawn.folded) {
    const none = drawn.rows.every((it) => it.is_critical) ? ', none on the critical path' : '';
    text(frame, 0, y + 14, `... ${count(drawn.folded)} more calls${none}`);
    y += 20;
  }
  for (const mark of marks) grid.append(svg('line', { x1: X(mark * unit[0]), x2: X(mark * unit[0]), y1: 16, y2: y, class: 'grid' }));
  const extentBox = svg('rect', { class: 'extent', y: 15, height: y - 13, rx: 1 });
  const cursor = svg('line', { class: 'cursor', y1: 15, y2: y + 2 });
  picture.append(extentBox, cursor);
  picture.setAttribute('viewBox', `0 0 ${width} ${y + 6}`);
  picture.setAttribute('height', y + 6);
  parts.request.frame = { ...frame, extentBox, cursor };
  waterfallHands(box, picture);
  drawBoxes();
}

const share = (ns, of) => (of > 0 && ns / of < 0.01 ? '< 1 %' : `${Math.round((ns / (of || 1)) * 100)} %`);
const partWords = (it) => `${share(it.ns, drawn.latency_ns)} ${it.words}`;

/** The parts of the critical path in words, the largest first, each with its colour. */
function sentence(frame, y, left) {
  let x = left;
  for (const it of drawn.parts.slice(0, 6)) {
    const words = partWords(it);
    const long = 17 + wide(words) * 1.03;
    if (x > left && x + long > frame.width) { x = left; y += 17; }
    rect(frame, x, y + 2, 9, 9, 'bit ' + it.kind);
    text(frame, x + 14, y + 11, words, 'ink', `${words}: ${time(it.ns)}${it.why ? '; ' + it.why : ''}`);
    x += long + 16;
  }
  y += 20;
  const queue = drawn.parts.find((it) => it.why);
  if (queue) {
    text(frame, left, y + 10, short(`in the queue ${queue.why}`, Math.floor((frame.width - left) / 6)), null, queue.why);
    y += 20;
  }
  return y + 4;
}

function bitRect(frame, X, bit, y, tall) {
  const [x1, x2] = [X(bit.from_ns), X(bit.to_ns)];
  const words = `${bit.words}: ${time(bit.to_ns - bit.from_ns)}`;
  frame.svg.append(svg('rect', { x: x1, y, width: Math.max(x2 - x1, 0.6), height: tall, class: 'bit ' + bit.kind }, svg('title', null, words)));
}

const ABANDONED = ['timeout', 'lost', 'refused', 'error', 'no_instance', 'cut'];

function drawRow(frame, X, row, index, y) {
  const again = row.attempt > 1 ? ` try ${row.attempt}` : '';
  const indent = Math.min(row.depth, 8) * (frame.isNarrow ? 6 : 11);
  const group = svg('g', { class: 'row' + (row.is_critical ? '' : ' aside'), tabindex: 0, role: 'button', 'data-row': index,
    'aria-label': `${row.endpoint}${again} to ${row.instance || 'nobody'}: ${row.failure ? failureWords(row) : time(row.ended_ns - row.sent_ns)}` });
  const inner = { ...frame, svg: group };
  const top = y + (frame.isNarrow ? 15 : 0);
  group.append(svg('rect', { x: 0, y, width: frame.width, height: frame.isNarrow ? 33 : 19, class: 'hit' }));
  const room = Math.max(8, Math.floor((frame.isNarrow ? frame.width - indent : frame.left - indent - 8) / 6.5));
  const name = short(row.endpoint + again, Math.max(6, room - (row.instance ? [...row.instance].length + 1 : 0)));
  const label = svg('text', { x: indent, y: y + 13, class: 'ink' }, name, svg('title', null, row.endpoint + again));
  if (row.instance) label.append(svg('tspan', { class: 'mut', dx: 5 }, short(row.instance, 14)));
  group.append(label);
  const [x1, x2] = [X(row.sent_ns), X(row.ended_ns)];
  for (const bit of row.bits) if (!ABANDONED.includes(bit.kind)) bitRect(inner, X, bit, top + 3, 11);
  const isLeft = x2 + 90 > frame.width;
  if (row.failure) {
    const mid = top + 8.5;
    rule(inner, x1, mid, x2, mid, 'given');
    group.append(svg('circle', { cx: x1, cy: mid, r: 2.5, class: 'failed' }));
    group.append(svg('path', { d: `M${x2 - 4} ${mid - 4}l8 8M${x2 - 4} ${mid + 4}l8 -8`, class: 'given' }));
    text(inner, x2 + 9, top + 12.5, short(failureWords(row), Math.max(6, Math.floor((frame.width - x2 - 10) / 6))), 'badt', failureWords(row));
  } else text(inner, x2 + 6, top + 12.5, time(row.ended_ns - row.sent_ns), isLeft ? 'mut' : 'mut');
  frame.svg.append(group);
  return y + (frame.isNarrow ? 34 : 20);
}

function waterfallHands(box, picture) {
  const brush = svg('rect', { class: 'brush', y: 0, visibility: 'hidden', height: picture.getAttribute('height') });
  picture.append(brush);
  const place = (event) => event.clientX - picture.getBoundingClientRect().left;
  let began = null;
  box.addEventListener('pointerdown', (event) => { if (event.button === 0 && event.pointerType !== 'touch') began = place(event); });
  box.addEventListener('pointermove', (event) => {
    const { frame } = parts.request;
    const x = Math.min(Math.max(place(event), frame.left), frame.right);
    if (began === null || Math.abs(x - began) < 5) return;
    brush.setAttribute('x', Math.min(began, x));
    brush.setAttribute('width', Math.abs(x - began));
    brush.setAttribute('visibility', 'visible');
  });
  box.addEventListener('pointerup', (event) => {
    const { frame } = parts.request;
    const [from, to] = [began, Math.min(Math.max(place(event), frame.left), frame.right)];
    began = null;
    brush.setAttribute('visibility', 'hidden');
    if (from !== null && Math.abs(to - from) > 5) { setExtent(frame.x.back(Math.min(from, to)), frame.x.back(Math.max(from, to)), true); return; }
    const row = event.target.closest('[data-row]');
    if (row) chooseRow(Number(row.dataset.row));
  });
  box.addEventListener('keydown', (event) => {
    const row = event.target.closest('[data-row]');
    if (row && (event.key === 'Enter' || event.key === ' ')) { event.preventDefault(); chooseRow(Number(row.dataset.row)); }
  });
}

/** A try: its message, and the time about it. */
function chooseRow(index) {
  const row = drawn.rows[index];
  const record = drawn.records[index];
  const span = Math.max((row.ended_ns - row.sent_ns) * 1.2, 2e5);
  const sent = drawn.due_ns + row.sent_ns;
  setExtent(sent - span * 0.08, sent + span * 0.92, record === null);
  if (record !== null && record !== undefined) choose(record, { isNew: true, keepsExtent: true });
  else point(sent);
}
