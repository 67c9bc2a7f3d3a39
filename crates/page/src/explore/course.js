// The course.

function drawCourse() {
  const { body } = parts.course;
  const { page } = run;
  const { course } = page;
  body.replaceChildren();
  const readout = el('p', { class: 'readout', role: 'status', 'data-hint': run.requests.ended ? 'Click a moment for its slowest request; drag for an extent.' : 'Drag for an extent.' });
  const box = el('div', { class: 'plot', tabindex: 0, role: 'group', 'aria-label': 'The course of the run: arrows move by a window, Enter shows its slowest request' });
  const picture = svg('svg', { role: 'img', 'aria-label': courseWords() });
  box.append(picture);
  body.append(box, readout);
  if (!course || course.edges_s.length < 2) { view = new View([0, run.page.summary.reached_s || 1]); } else view = new View(course.edges_s);
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  const isNarrow = width < 620;
  const frame = { width, left: isNarrow ? 54 : 66, right: width - (isNarrow ? 12 : 34), isNarrow, svg: picture, box, view };
  frame.x = linear(view.extent[0], view.extent[1], frame.left, frame.right);
  let y = lanes(frame, 2, page.lanes.bars, [], 4);
  const top = y;
  const loads = course ? linesOf(course, 'load') : [];
  if (loads.length) {
    const busiest = loads.reduce((a, b) => (total(b, 'offered') > total(a, 'offered') ? b : a));
    const p50 = column(busiest, 'p50_ns').filter((it) => it > 0);
    const p99 = column(busiest, 'p99_ns').filter((it) => it > 0);
    if (p50.length) {
      const low = 10 ** Math.floor(Math.log10(p50.reduce((a, b) => Math.min(a, b))));
      const high = Math.max(10 ** Math.ceil(Math.log10(most(p99) * 1.001)), low * 10);
      const scale = logarithmic(low, high, y + 50, y + 4);
      for (let at_ = low; at_ <= high * 1.01; at_ *= 10) {
        rule(frame, frame.left, scale(at_), frame.right, scale(at_), 'grid');
        text(frame, frame.left - 8, scale(at_) + 4, time(at_), 'end');
      }
      const weight = (share) => (i) => (number(busiest, 'done', i) * share >= 10 ? 2 : number(busiest, 'done', i) * share >= 1 ? 1 : 0);
      line(frame, scale, column(busiest, 'p50_ns'), 'p50', null);
      line(frame, scale, column(busiest, 'p90_ns'), 'p90', weight(0.1));
      line(frame, scale, column(busiest, 'p99_ns'), 'p99', weight(0.01));
      const names = [['p50', 0.5], ['p90', 0.1], ['p99', 0.01]].filter(([, share_]) => view.edges.some((_, i) => number(busiest, 'done', i) * share_ >= 1));
      let last = Infinity;
      for (const [name] of isNarrow ? [] : names.filter((_, i) => i === 0 || i === names.length - 1)) {
        const end = column(busiest, name + '_ns').filter((it) => it > 0).pop();
        last = Math.min(scale(end) + 4, last - 13);
        text(frame, frame.right + 5, last, name, name === 'p50' ? null : 'strong');
      }
    }
    y += 56;
    const failed = view.edges.slice(0, -1).map((_, i) => sum(loads.map((it) => number(it, 'failed', i))));
    text(frame, frame.left - 8, y + 17, 'failed', 'end');
    columns(frame, y, 20, most(failed) || 1, [[failed, 'failed']]);
    readout.say = (i) => {
      const all = (name) => sum(loads.map((it) => number(it, name, i)));
      const longest = busiest.columns.max_ns?.[i];
      return `${between(view.edges[i], view.edges[i + 1])}: ${count(all('offered'))} due, ${count(all('failed'))} failed`
        + `, p50 ${time(busiest.columns.p50_ns?.[i])}, max ${time(longest)}. Click: its slowest request.`;
    };
    y += 22;
  } else {
    text(frame, frame.left, y + 16, course ? 'no load' : 'no series.csv: no course over time');
    y += 28;
  }
  shades(frame, top, y, page.lanes.bars);
  const bottom = timeAxis(frame, y);
  const extentBox = svg('rect', { class: 'extent', y: top - 3, height: y - top + 3, rx: 1 });
  const cursor = svg('line', { class: 'cursor', y1: top - 3, y2: y });
  const hover = svg('line', { class: 'cursor faint', y1: top - 3, y2: y, visibility: 'hidden' });
  const brush = svg('rect', { class: 'brush', y: top - 3, height: y - top + 3, visibility: 'hidden' });
  picture.append(brush, hover, extentBox, cursor);
  picture.setAttribute('viewBox', `0 0 ${width} ${bottom}`);
  picture.setAttribute('height', bottom);
  parts.course.frame = { ...frame, extentBox, cursor };
  courseHands(box, frame, { readout, hover, brush, picture });
}

function courseWords() {
  const { requests } = run;
  return `${count(requests.done)} requests done, ${count(requests.failed)} failed over ${seconds(run.page.summary.reached_s)}`;
}

function courseHands(box, frame, { readout, hover, brush, picture }) {
  const place = (event) => Math.min(Math.max(event.clientX - picture.getBoundingClientRect().left, frame.left), frame.right);
  let began = null;
  let window_ = null;
  const show = (i) => {
    window_ = i;
    const x = frame.x((view.edges[i] + view.edges[i + 1]) / 2);
    hover.setAttribute('x1', x);
    hover.setAttribute('x2', x);
    hover.setAttribute('visibility', 'visible');
    readout.textContent = readout.say ? readout.say(i) : '';
  };
  box.addEventListener('pointermove', (event) => {
    const x = place(event);
    if (began !== null && Math.abs(x - began) > 4) {
      brush.setAttribute('x', Math.min(x, began));
      brush.setAttribute('width', Math.abs(x - began));
      brush.setAttribute('visibility', 'visible');
    }
    show(view.at(frame.x.back(x)));
  });
  box.addEventListener('pointerleave', () => { if (began === null) { hover.setAttribute('visibility', 'hidden'); readout.textContent = ''; } });
  box.addEventListener('pointerdown', (event) => { if (event.button === 0) { began = place(event); if (event.pointerType !== 'touch') box.setPointerCapture(event.pointerId); } });
  box.addEventListener('pointercancel', () => { began = null; });
  box.addEventListener('pointerup', (event) => {
    if (began === null) return;
    const [from, to] = [began, place(event)];
    began = null;
    brush.setAttribute('visibility', 'hidden');
    if (Math.abs(to - from) > 4) {
      const [a, b] = [frame.x.back(Math.min(from, to)), frame.x.back(Math.max(from, to))];
      setExtent(a * SECOND, b * SECOND, true);
      if (!drawn) slowestIn(look.t);
    } else slowestIn([view.edges[window_ ?? 0], view.edges[(window_ ?? 0) + 1]].map((it) => it * SECOND));
  });
  box.addEventListener('keydown', (event) => {
    const i = window_ ?? view.at((look.at ?? 0) / SECOND);
    if (event.key === 'ArrowRight') show(Math.min(i + (event.shiftKey ? 10 : 1), view.windows - 1));
    else if (event.key === 'ArrowLeft') show(Math.max(i - (event.shiftKey ? 10 : 1), 0));
    else if (event.key === 'Enter') slowestIn([view.edges[i], view.edges[i + 1]].map((it) => it * SECOND));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Boxes and hairlines that say where the extent and the moment are. */
function drawBoxes() {
  if (!look.t) return;
  const place = (frame, from, to, cursor) => {
    if (!frame) return;
    const [x1, x2] = [frame.x(from), frame.x(to)].map((it) => Math.min(Math.max(it, frame.left), frame.right));
    const isOut = frame.x(to) < frame.left || frame.x(from) > frame.right;
    const wide_ = Math.max(x2 - x1, 5);
    frame.extentBox.setAttribute('visibility', isOut ? 'hidden' : 'visible');
    frame.extentBox.setAttribute('x', Math.min((x1 + x2 - wide_) / 2, frame.right - wide_ + 2));
    frame.extentBox.setAttribute('width', wide_);
    const x = cursor === null ? -1 : frame.x(cursor);
    frame.cursor.setAttribute('visibility', x < frame.left || x > frame.right ? 'hidden' : 'visible');
    frame.cursor.setAttribute('x1', x);
    frame.cursor.setAttribute('x2', x);
  };
  const at_ = look.at === null ? null : look.at / SECOND;
  place(parts.course.frame, look.t[0] / SECOND, look.t[1] / SECOND, at_);
  place(parts.request.frame, look.t[0], look.t[1], look.at);
  clearTimeout(callsTimer);
  callsTimer = setTimeout(drawCalls, 100);
}

/** Who calls whom is drawn when the extent rests. */
let callsTimer = 0;

/** The slowest request that was due in a stretch of time, or the first that failed if none was done. */
async function slowestIn([from, to]) {
  await answered(parts.request.body, () => ask('requests', `/api/requests?from=${Math.round(from)}&to=${Math.round(to)}`), (those) => {
    const first = those.slowest[0] || those.failures[0];
    if (first) chooseRequest(first.request, { isNew: true, isLed: true });
    else { point((from + to) / 2); setExtent(from, to, true); }
  });
}
