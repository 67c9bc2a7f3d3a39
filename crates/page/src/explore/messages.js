// Messages.

function buildSpace() {
  const box = el('div', { class: 'space', tabindex: 0, role: 'application' });
  const readout = el('p', { class: 'readout', 'data-hint': 'Drag moves, Ctrl and wheel zoom, Shift and drag chooses an extent; click a message for its content and its cause.' });
  const under = el('div', { hidden: true });
  parts.space.body.append(box, readout, under);
  space = new Space(box, {
    pan: (ns) => setExtent(look.t[0] + ns, look.t[1] + ns, false),
    zoom: (at_, factor) => zoomAt(at_, factor),
    extent: (from, to) => setExtent(from, to, true),
    settled: () => remember(true),
    actor: (id) => chooseActor(id, true),
    pick: (m, at_) => { if (m) choose(m.record, { isNew: true, keepsExtent: true }); else { unchoose(); point(at_); remember(true); } },
    hover: (at_, m) => {
      readout.textContent = m ? sayMessage(m) : at_ === null ? '' : when(at_);
      space.drawAbove();
    },
  });
  space.actors = run.actors;
  space.down = run.down;
  const toggle = button('table', () => {
    const isOpen = under.hidden;
    under.hidden = !isOpen;
    box.hidden = isOpen;
    toggle.setAttribute('aria-pressed', String(isOpen));
    if (isOpen) under.replaceChildren(messageTable());
    else space.draw();
  }, { 'aria-pressed': 'false' });
  parts.space.tools.append(button('−', () => { zoomAt((look.t[0] + look.t[1]) / 2, 2); remember(true); }, { 'aria-label': 'zoom out' }),
    button('+', () => { zoomAt((look.t[0] + look.t[1]) / 2, 0.5); remember(true); }, { 'aria-label': 'zoom in' }), toggle);
}

function sayMessage(m) {
  const words = space.messages.said[m.words]?.[1] ?? 'message';
  const reason = m.fate & FATE.LOST ? `lost: ${run.reasons[m.fate >> FATE.REASON] ?? ''}` : m.took < 0 ? 'under way when the trace ended' : `took ${time(m.took)}`;
  const odd = [m.fate & FATE.LATE ? 'late' : '', m.fate & FATE.COPY ? 'a copy' : '', m.fate & FATE.HELD ? 'held' : ''].filter((it) => it);
  return `${when(m.sent)}: ${words}, ${actorName(m.from)} ${ARROW} ${actorName(m.to)}, ${[reason, ...odd].join(', ')}`;
}

const TABLE_MAX = 200;

/** What the canvas shows, as a table. */
function messageTable() {
  const rows = [];
  let left = 0;
  space.each((m) => {
    if (m.sent > look.t[1] || (m.took >= 0 && m.sent + m.took < look.t[0])) return;
    if (rows.length === TABLE_MAX) { left++; return; }
    rows.push([{ text: (m.sent / SECOND).toFixed(6), value: m.sent }, actorName(m.from), actorName(m.to), space.messages.said[m.words]?.[1] ?? '',
      m.fate & FATE.LOST ? `lost: ${run.reasons[m.fate >> FATE.REASON] ?? ''}` : m.took < 0 ? 'under way' : { text: time(m.took), value: m.took }, { text: String(m.record), value: m.record }]);
  });
  const made = table(['sent (s)', 'from', 'to', 'message', 'took', 'record'], rows);
  made.dataset.table = 'messages';
  return el('div', { class: 'scroll tall' }, made, left ? el('p', { class: 'mut' }, `and ${count(left)} more`) : null);
}

const covers = (all) => all && all.is_whole && all.from_ns <= look.t[0] && all.to_ns >= look.t[1];

let loading = false;
let wanted = false;

/** Asks for the messages of the extent, unless they are there; one question at a time, the last one counts. */
async function loadSoon() {
  if (loading) { wanted = true; return; }
  if (covers(space.messages)) { if (space.tiles.length) { space.tiles = []; paintExtent(); } return; }
  loading = true;
  try {
    await load();
  } catch (error) {
    if (error.name !== 'AbortError') parts.space.why.textContent = error.message;
  }
  loading = false;
  if (wanted) { wanted = false; loadSoon(); }
}

async function load() {
  const [from, to] = look.t;
  const span = to - from;
  const [first, last] = whole();
  const request = look.req ? `&request=${encodeURIComponent(look.req)}` : '';
  const within = (a, b) => ask('messages', `/api/messages?from=${Math.max(Math.round(a), 0)}&to=${Math.round(b)}${request}`);
  // With what lies beside it, so that moving about needs no question.
  let messages = await within(Math.max(first, from - span), Math.min(last, to + span));
  if (!messages.is_whole) messages = await within(from, to);
  const tiles = messages.is_whole ? [] : await tilesOf(from, to);
  space.messages = messages;
  space.tiles = tiles;
  paintExtent();
}

const kept = new Map();

/** The tiles that cover an extent: about a column a pixel. */
async function tilesOf(from, to) {
  const pixels = Math.max(space.right - space.left, 100);
  const level = Math.max(0, Math.min(30, Math.ceil(Math.log2((to - from) / pixels / 1024))));
  const tall = run.columns * 1024 * 2 ** level;
  const numbers = [];
  for (let n = Math.floor(from / tall); n * tall <= to && numbers.length < 16; n++) numbers.push(n);
  return Promise.all(numbers.map(async (n) => {
    const path = `/tile/${level}/${n}`;
    if (!kept.has(path)) {
      if (kept.size > 200) kept.clear();
      kept.set(path, await ask(path, path));
    }
    return kept.get(path);
  }));
}
