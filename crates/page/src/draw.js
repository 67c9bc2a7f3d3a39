'use strict';
// What draws: elements, figures as people read them, scales, one axis of time for all plots, and the kinds of plots.
// It knows nothing of reports. Text reaches the document as text, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with attributes (functions listen) and children; strings are text. */
function el(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// Figures.

const NONE = '–';

function count(n) {
  return n === null || n === undefined ? NONE : String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Three significant digits. */
function figure(x) {
  if (x === null || x === undefined || !Number.isFinite(x)) return NONE;
  if (x === 0) return '0';
  if (Math.abs(x) >= 1000) return count(x);
  return String(Number(x.toPrecision(3)));
}

/** Nanoseconds. */
function time(ns) {
  if (ns === null || ns === undefined) return NONE;
  for (const [unit, size] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]]) {
    if (Number((ns / size).toPrecision(3)) >= 1) return figure(ns / size) + ' ' + unit;
  }
  return figure(ns) + ' ns';
}

function percent(share) {
  if (share === null || !Number.isFinite(share)) return NONE;
  if (share > 0 && share < 1e-4) return '< 0.01 %';
  return Number((share * 100).toPrecision(3)) + ' %';
}

/** A time of the run, or a length of time: from one hour on in days, hours and minutes. */
function seconds(s) {
  if (s < 3600) return Number(s.toFixed(3)) + ' s';
  const whole = Math.round(s);
  const parts = [[Math.floor(whole / 86400), 'd'], [Math.floor(whole / 3600) % 24, 'h'], [Math.floor(whole / 60) % 60, 'min'], [whole % 60, 's']];
  return parts.filter(([n]) => n).map(([n, unit]) => `${n} ${unit}`).join(' ');
}

/** From one time of the run to another. */
function between(from, to) {
  return `${to < 3600 ? Number(from.toFixed(3)) : seconds(from)} to ${seconds(to)}`;
}

/** A name that fits; the whole is in its title. */
function short(name, most) {
  const letters = [...name];
  return letters.length > most ? letters.slice(0, most - 1).join('') + '…' : name;
}

const sum = (values) => (values || []).reduce((all, value) => all + (value || 0), 0);
const most = (values) => (values || []).reduce((all, value) => (value > all ? value : all), 0);

// Scales.

function linear(from, to, low, high) {
  const scale = (value) => low + ((value - from) / (to - from || 1)) * (high - low);
  scale.back = (place) => from + ((place - low) / (high - low || 1)) * (to - from);
  return scale;
}

function logarithmic(from, to, low, high) {
  const inner = linear(Math.log10(from), Math.log10(to), low, high);
  return (value) => inner(Math.log10(Math.min(Math.max(value, from), to)));
}

/** Round values from `from` to `to`, about so many. */
function ticks(from, to, about) {
  const span = to - from;
  if (!(span > 0)) return [from];
  const rough = span / Math.max(about, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((it) => it * power).find((it) => it >= rough * 0.999);
  return multiples(step, from, to);
}

/** Ticks of time: from one hour on at whole minutes, hours or days. */
function timeTicks(from, to, about) {
  const rough = (to - from) / Math.max(about, 1);
  if (to < 3600 || rough < 30) return ticks(from, to, about);
  const step = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200].find((it) => it >= rough * 0.999);
  return step ? multiples(step, from, to) : ticks(from / 86400, to / 86400, about).map((it) => it * 86400);
}

function multiples(step, from, to) {
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** 1, 2, 5 of each decade. */
function decades(from, to) {
  const found = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++) {
    for (const digit of [1, 2, 5]) {
      const value = digit * 10 ** power;
      if (value >= from * 0.999 && value <= to * 1.001) found.push(value);
    }
  }
  return found;
}

// Time: one extent and one cursor for all plots.

class View {
  constructor(edges) {
    this.edges = edges;
    this.whole = [edges[0], edges[edges.length - 1]];
    this.extent = [...this.whole];
    this.cursor = null;
    this.drawn = [];
    this.pointed = [];
    this.changed = () => {};
  }

  get windows() { return this.edges.length - 1; }

  /** The windows that the extent touches: first, and the one after the last. */
  get range() {
    const [from, to] = this.extent;
    let first = 0;
    while (first < this.windows - 1 && this.edges[first + 1] <= from + 1e-9) first++;
    let after = first + 1;
    while (after < this.windows && this.edges[after] < to - 1e-9) after++;
    return [first, after];
  }

  at(second) {
    const [first, after] = this.range;
    for (let i = first; i < after; i++) if (second < this.edges[i + 1]) return i;
    return after - 1;
  }

  /** Shows whole windows from one second to another. */
  zoom(from, to, isQuiet) {
    const [first, last] = this.whole;
    from = Math.max(first, Math.min(from, to));
    to = Math.min(last, Math.max(from, to));
    const inner = this.edges.filter((edge) => edge >= from - 1e-9 && edge <= to + 1e-9);
    if (inner.length >= 3) [from, to] = [inner[0], inner[inner.length - 1]];
    if (!(to > from)) [from, to] = this.whole;
    this.extent = [from, to];
    this.redraw();
    if (!isQuiet) this.changed();
  }

  redraw() {
    this.drawn.forEach((draw) => draw());
    this.point(this.cursor);
  }

  point(window) {
    this.cursor = window;
    this.pointed.forEach((point) => point(window));
  }
}

/** Margins: beside the plots where there is room. */
function margins(width) {
  return width < 620 ? { left: 58, right: 12, isNarrow: true } : { left: 150, right: Math.min(130, width * 0.11), isNarrow: false };
}

/**
 * A plot over time that redraws itself. `draw(frame)` gets { width, left, right, x, view, isNarrow, svg, box }, adds to
 * the SVG and returns its height. Hover, drag and keys are those of all such plots.
 */
function timePlot(view, label, draw, readout) {
  const box = el('div', { class: 'plot', tabindex: 0, role: 'group', 'aria-label': label + ': arrows move the cursor, + and - zoom, 0 shows all' });
  const picture = svg('svg', { role: 'img', 'aria-label': label });
  const line = svg('line', { class: 'cursor', visibility: 'hidden' });
  const brush = svg('rect', { class: 'brush', visibility: 'hidden', y: 0 });
  box.append(picture);
  let frame = null;
  const redraw = () => {
    const width = Math.floor(box.clientWidth);
    if (!width) return;
    const { left, right, isNarrow } = margins(width);
    picture.replaceChildren();
    frame = { width, left, right: width - right, isNarrow, svg: picture, box, view };
    frame.x = linear(view.extent[0], view.extent[1], frame.left, frame.right);
    frame.height = Math.ceil(draw(frame));
    picture.setAttribute('viewBox', `0 0 ${width} ${frame.height}`);
    picture.setAttribute('height', frame.height);
    line.setAttribute('y1', 0);
    line.setAttribute('y2', frame.height);
    brush.setAttribute('height', frame.height);
    picture.append(brush, line);
  };
  view.drawn.push(redraw);
  view.pointed.push((window) => {
    if (!frame) return;
    const [first, after] = view.range;
    const isIn = window !== null && window >= first && window < after;
    line.setAttribute('visibility', isIn ? 'visible' : 'hidden');
    if (isIn) {
      const x = frame.x((view.edges[window] + view.edges[window + 1]) / 2);
      line.setAttribute('x1', x);
      line.setAttribute('x2', x);
    }
    if (readout) readout.textContent = isIn ? readout.say(window) : '';
  });

  const place = (event) => event.clientX - picture.getBoundingClientRect().left;
  const within = (x) => Math.min(Math.max(x, frame.left), frame.right);
  let began = null;
  box.addEventListener('pointermove', (event) => {
    if (!frame) return;
    const x = place(event);
    if (began !== null) {
      const [from, to] = [Math.min(began, within(x)), Math.max(began, within(x))];
      brush.setAttribute('x', from);
      brush.setAttribute('width', to - from);
      brush.setAttribute('visibility', 'visible');
    }
    box.pointerY = event.clientY - picture.getBoundingClientRect().top;
    view.point(x < frame.left - 4 || x > frame.right + 4 ? null : view.at(frame.x.back(within(x))));
  });
  box.addEventListener('pointerleave', () => { if (began === null) view.point(null); });
  box.addEventListener('pointerdown', (event) => {
    if (!frame || event.button !== 0 || event.pointerType === 'touch') return;
    began = within(place(event));
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener('pointerup', (event) => {
    if (began === null) return;
    const [from, to] = [began, within(place(event))];
    began = null;
    brush.setAttribute('visibility', 'hidden');
    if (Math.abs(to - from) > 5) view.zoom(frame.x.back(Math.min(from, to)), frame.x.back(Math.max(from, to)));
  });
  box.addEventListener('pointercancel', () => { began = null; brush.setAttribute('visibility', 'hidden'); });
  box.addEventListener('dblclick', () => view.zoom(...view.whole));
  box.addEventListener('wheel', (event) => {
    if (!event.ctrlKey || !frame) return;
    event.preventDefault();
    scaleAt(view, frame.x.back(within(place(event))), event.deltaY > 0 ? 1.5 : 1 / 1.5);
  }, { passive: false });
  return box;
}

/** Zooms so that a moment stays where it is. */
function scaleAt(view, moment, factor) {
  const [from, to] = view.extent;
  view.zoom(moment - (moment - from) * factor, moment + (to - moment) * factor);
}

/** The keys of all plots over time. Returns true if it was one of them. */
function timeKey(view, event) {
  const [first, after] = view.range;
  const move = event.shiftKey ? 10 : 1;
  const at = view.cursor === null ? null : view.cursor;
  const middle = at === null ? (view.extent[0] + view.extent[1]) / 2 : (view.edges[at] + view.edges[at + 1]) / 2;
  switch (event.key) {
    case 'ArrowRight': view.point(Math.min(at === null ? first : at + move, after - 1)); return true;
    case 'ArrowLeft': view.point(Math.max(at === null ? after - 1 : at - move, first)); return true;
    case '+': scaleAt(view, middle, 1 / 1.5); return true;
    case '-': scaleAt(view, middle, 1.5); return true;
    case '0': view.zoom(...view.whole); return true;
    default: return false;
  }
}

// Pieces of plots.

function text(frame, x, y, words, kind, whole) {
  const node = svg('text', { x, y, class: kind || null }, words);
  if (whole && whole !== words) node.append(svg('title', null, whole));
  frame.svg.append(node);
  return node;
}

function rect(frame, x, y, width, height, kind) {
  frame.svg.append(svg('rect', { x, y, width: Math.max(width, 0), height: Math.max(height, 0), class: kind }));
}

function rule(frame, x1, y1, x2, y2, kind) {
  frame.svg.append(svg('line', { x1, y1, x2, y2, class: kind }));
}

/** A panel's name: beside it, or above it where it is narrow. Returns where the panel begins. */
function panelName(frame, y, name, ...more) {
  if (frame.isNarrow) {
    text(frame, 0, y + 12, name, 'strong');
    const room = (frame.width - wide(name) * 1.15 - 8) / 6.4;
    if (more.length) text(frame, wide(name) * 1.15 + 8, y + 12, short(more.join(', '), Math.floor(room)));
    return y + 20;
  }
  text(frame, 0, y + 11, short(name, 20), 'strong', name);
  more.forEach((line, index) => text(frame, 0, y + 26 + 14 * index, short(line, 20), null, line));
  return y;
}

/** SLOs on latencies: lines across the part of the run that they are about. */
function boundLines(frame, scale, bounds, [low, high]) {
  for (const bound of bounds) {
    const x1 = Math.max(frame.left, bound.from_s === null ? frame.left : frame.x(bound.from_s));
    const x2 = Math.min(frame.right, bound.to_s === null ? frame.right : frame.x(bound.to_s));
    if (x2 <= x1 || bound.ns > high || bound.ns < low) continue;
    rule(frame, x1, scale(bound.ns), x2, scale(bound.ns), 'slo');
    text(frame, x1 + 6, scale(bound.ns) - 4, 'SLO ' + short(bound.slo, 40), 'badt label', bound.slo);
  }
}

/** The axis of time at a height. */
function timeAxis(frame, y) {
  rule(frame, frame.left, y, frame.right, y, 'axis');
  const [from, to] = frame.view.extent;
  const marks = timeTicks(from, to, Math.max(3, (frame.right - frame.left) / 90));
  marks.forEach((second, index) => {
    const isLast = index === marks.length - 1;
    rule(frame, frame.x(second), y, frame.x(second), y + 4, 'axis');
    text(frame, frame.x(second), y + 17, isLast || to >= 3600 ? seconds(second) : String(second), frame.x(second) > frame.right - 20 ? 'end' : 'mid');
  });
  return y + 24;
}

/** Columns, one a window: parts from the bottom up, each [values, class]. */
function columns(frame, top, height, highest, parts) {
  const [first, after] = frame.view.range;
  const { edges } = frame.view;
  const paths = parts.map(() => '');
  for (let i = first; i < after; i++) {
    const x1 = Math.max(frame.x(edges[i]), frame.left);
    const x2 = Math.min(frame.x(edges[i + 1]), frame.right);
    const gap = x2 - x1 > 4 ? 0.8 : 0;
    let bottom = top + height;
    parts.forEach(([values], part) => {
      const value = (values && values[i]) || 0;
      if (value <= 0) return;
      const tall = Math.max((value / highest) * height, 1.5);
      paths[part] += `M${x1.toFixed(2)} ${bottom.toFixed(2)}v${(-tall).toFixed(2)}H${(x2 - gap).toFixed(2)}v${tall.toFixed(2)}Z`;
      bottom -= tall;
    });
  }
  parts.forEach(([, kind], part) => {
    if (paths[part]) frame.svg.append(svg('path', { d: paths[part], class: kind }));
  });
}

/** A line through the windows' middles; broken where `weight` says 0, a hairline where it says 1. */
function line(frame, y, values, kind, weight) {
  const [first, after] = frame.view.range;
  const { edges } = frame.view;
  const paths = { 1: '', 2: '' };
  const weigh = (i) => (values[i] === null || values[i] === undefined ? 0 : weight ? weight(i) : 2);
  const at = (i) => `${frame.x((edges[i] + edges[i + 1]) / 2).toFixed(2)} ${y(values[i]).toFixed(2)}`;
  for (let i = first; i < after; i++) {
    const here = weigh(i);
    if (!here) continue;
    const before = i > first ? weigh(i - 1) : 0;
    const after_ = i < after - 1 ? weigh(i + 1) : 0;
    if (before) paths[Math.min(before, here)] += `M${at(i - 1)}L${at(i)}`;
    else if (!after_) paths[here] += `M${at(i)}h.01`;
  }
  for (const [weightOf, path] of Object.entries(paths)) {
    if (path) frame.svg.append(svg('path', { d: path, class: `line ${kind}${weightOf === '1' ? ' hair' : ''}`, 'stroke-linecap': 'round' }));
  }
}

/** Labels at the right edge, moved apart: [y, words, class]. */
function endLabels(frame, labels) {
  if (frame.isNarrow) return;
  const sorted = labels.filter((it) => it).sort((a, b) => a[0] - b[0]);
  let last = -Infinity;
  for (const [y, words, kind] of sorted) {
    last = Math.max(y + 4, last + 14);
    text(frame, frame.right + 10, last, short(words, 20), kind, words);
  }
}

/** How wide a text is, about. */
const wide = (words) => [...words].length * 6.4;

/** Bars in lanes, greedy, each with its name beside it. Returns the height. */
function lanes(frame, top, bars, marks, lanesMax) {
  const [from, to] = frame.view.extent;
  const taken = [];
  let left = 0;
  for (const bar of bars.filter((it) => it.to_s >= from && it.from_s <= to)) {
    const x1 = Math.max(frame.x(bar.from_s), frame.left);
    const x2 = Math.max(Math.min(frame.x(bar.to_s), frame.right), x1 + 3);
    const name = short(bar.what, frame.isNarrow ? 24 : 44);
    const isRight = x2 + 8 + wide(name) <= frame.width;
    const room = isRight ? [x1, x2 + 10 + wide(name)] : [Math.max(0, x1 - 10 - wide(name)), x2 + 4];
    let lane = taken.findIndex((spans) => spans.every(([a, b]) => b < room[0] || a > room[1]));
    if (lane < 0) {
      if (taken.length === lanesMax) { left++; continue; }
      lane = taken.push([]) - 1;
    }
    taken[lane].push(room);
    const y = top + lane * 17 + 8;
    const kind = bar.is_fault ? 'fault' : 'opbar';
    rect(frame, x1, y - (bar.is_fault ? 4 : 1.5), x2 - x1, bar.is_fault ? 8 : 3, kind);
    for (const tick of bar.ticks) {
      if (tick >= from && tick <= to) rule(frame, frame.x(tick), y - 5, frame.x(tick), y + 5, 'optick');
    }
    if (!bar.is_fault) rule(frame, x2, y - 5, x2, y + 5, 'optick');
    text(frame, isRight ? x2 + 7 : x1 - 7, y + 4, name, (bar.is_fault ? 'badt' : 'opt') + (isRight ? '' : ' end'), bar.what);
  }
  let y = top + taken.length * 17;
  if (left) { text(frame, frame.left, y + 12, `and ${left} more, in the tables`); y += 17; }
  const shown = marks.filter((it) => it.at_s >= from && it.at_s <= to);
  if (shown.length) {
    let free = 0;
    shown.forEach((mark, place) => {
      const x = frame.x(mark.at_s);
      const next = place + 1 < shown.length ? frame.x(shown[place + 1].at_s) - 6 : frame.width;
      frame.svg.append(svg('path', { d: `M${x - 4} ${y + 11}h8l-4 -7z`, class: 'decided' }, svg('title', null, mark.what)));
      const name = short(mark.what, 40);
      const isRight = x + 8 + wide(name) <= next;
      if (isRight || x - 8 - wide(name) >= free) text(frame, isRight ? x + 7 : x - 7, y + 11, name, 'ink' + (isRight ? '' : ' end'), mark.what);
      free = isRight ? x + 8 + wide(name) : x + 6;
    });
    y += 17;
  }
  return y - top + 4;
}

/** Faults as shades and steps as lines through a picture of this height, behind all else. */
function shades(frame, top, bottom, bars) {
  const [from, to] = frame.view.extent;
  const behind = svg('g');
  for (const bar of bars.filter((it) => it.to_s >= from && it.from_s <= to)) {
    const x1 = Math.max(frame.x(bar.from_s), frame.left);
    const x2 = Math.min(frame.x(bar.to_s), frame.right);
    if (bar.is_fault) behind.append(svg('rect', { x: x1, y: top, width: Math.max(x2 - x1, 1), height: bottom - top, class: 'shade' }));
    else {
      for (const tick of bar.ticks) {
        if (tick < from || tick > to) continue;
        behind.append(svg('line', { x1: frame.x(tick), x2: frame.x(tick), y1: top, y2: bottom, class: 'step' }));
      }
    }
  }
  frame.svg.prepend(behind);
}

/**
 * A heat map: rows of { label, more, right, values, gapBefore }, values from 0 to 1, null where there is nothing.
 * `colour` is the name of a custom property; `pale` draws zeros as empty cells.
 */
function heatMap(frame, top, rows, height, colour, pale) {
  const [first, after] = frame.view.range;
  const { edges } = frame.view;
  let canvas = frame.box.querySelector('canvas');
  if (!canvas) {
    canvas = el('canvas', { 'aria-hidden': 'true' });
    frame.box.prepend(canvas);
  }
  let y = top;
  const places = rows.map((row) => {
    y += row.gapBefore || 0;
    const place = y;
    y += height;
    return place;
  });
  const scale = window.devicePixelRatio || 1;
  canvas.width = frame.width * scale;
  canvas.height = (y + 1) * scale;
  canvas.style.width = frame.width + 'px';
  canvas.style.height = y + 1 + 'px';
  const style = getComputedStyle(document.documentElement);
  const paint = canvas.getContext('2d');
  paint.scale(scale, scale);
  const [full, empty] = [style.getPropertyValue(colour).trim(), style.getPropertyValue('--grid').trim()];
  rows.forEach((row, index) => {
    for (let i = first; i < after; i++) {
      const value = row.values ? row.values[i] : 0;
      if (value === null || value === undefined) continue;
      const x1 = Math.max(frame.x(edges[i]), frame.left);
      const x2 = Math.min(frame.x(edges[i + 1]), frame.right);
      const gap = x2 - x1 > 4 ? 0.8 : 0;
      paint.globalAlpha = 1;
      paint.fillStyle = empty;
      if (value > 0 || pale) {
        paint.fillStyle = full;
        paint.globalAlpha = Math.min(1, 0.18 + 0.82 * Math.sqrt(Math.min(value, 1)));
        if (pale && value === 0) paint.globalAlpha = 0.1;
      }
      paint.fillRect(x1, places[index], x2 - x1 - gap, height - (height > 3 ? 0.8 : 0));
    }
    const middle = places[index] + height / 2 + 4;
    if (row.label) text(frame, 0, middle, short(row.label, frame.isNarrow ? 8 : 16), 'ink', row.label);
    if (row.more && !frame.isNarrow) text(frame, frame.left - 12, middle, row.more, 'end');
    if (row.right && !frame.isNarrow) text(frame, frame.right + 10, middle, row.right);
  });
  return { bottom: y, rowAt: (at) => rows.findIndex((_, i) => at >= places[i] && at < places[i] + height) };
}

/** A table from heads and rows; a cell is text, or { text, value } for a figure. Sortable, and can be had as CSV. */
function table(heads, rows, foot) {
  const cell = (it) => (typeof it === 'object' && it !== null
    ? el('td', { class: 'n', 'data-value': it.value ?? '' }, it.text)
    : el('td', null, String(it ?? NONE)));
  const isFigure = heads.map((_, i) => rows.some((row) => typeof row[i] === 'object' && row[i] !== null));
  const made = el('table', null,
    el('thead', null, el('tr', null, heads.map((head, i) => el('th', { scope: 'col', class: isFigure[i] ? 'n' : null }, head)))),
    el('tbody', null, rows.map((row) => el('tr', null, row.map(cell)))),
    foot ? el('tfoot', null, el('tr', null, foot.map(cell))) : null);
  sortable(made);
  return made;
}

const valueOf = (cell) => cell?.dataset.value ?? cell?.textContent ?? '';

/** Heads become buttons that sort by their column. */
function sortable(made) {
  [...made.tHead.rows[0].cells].forEach((head, column) => {
    const words = head.textContent;
    if (!words) return;
    head.replaceChildren(el('button', { type: 'button', click: () => {
      const isDown = head.getAttribute('aria-sort') !== 'descending';
      [...made.tHead.rows[0].cells].forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
      const rows = [...made.tBodies[0].rows];
      const isFigure = rows.some((row) => row.cells[column]?.dataset.value !== undefined);
      const key = (row) => valueOf(row.cells[column]);
      rows.sort((a, b) => (isFigure ? (Number(key(b)) || 0) - (Number(key(a)) || 0) : key(a).localeCompare(key(b), 'en')));
      if (!isDown) rows.reverse();
      made.tBodies[0].append(...rows);
    } }, words));
  });
}

/** A table as CSV, exact figures where there are some. Cells that a spreadsheet would compute are kept from it. */
function csv(made) {
  const quoted = (it) => {
    const safe = /^[=+\-@\t\r]/.test(it) && !/^-?[\d.]+(e[-+]?\d+)?$/i.test(it) ? "'" + it : it;
    return /[",\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  };
  const rows = [...made.rows].filter((row) => row.parentNode.tagName !== 'TFOOT');
  return rows.map((row) => [...row.cells].map((cell) => quoted(valueOf(cell))).join(',')).join('\n') + '\n';
}

/** Hands a text to whoever looks at the page, as a file. */
function save(name, words) {
  const link = el('a', { download: name, href: 'data:text/csv;charset=utf-8,' + encodeURIComponent(words) });
  document.body.append(link);
  link.click();
  link.remove();
}
