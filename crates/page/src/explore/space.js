// Messages between actors in space and time: a line for each actor, time to the right, on canvas. It draws what it is
// given, finds what is pointed at, and asks for nothing itself.

/** Bits of a message's fate, as the server writes them. */
const FATE = { LOST: 1, COPY: 2, HELD: 4, LATE: 8, UNDER_WAY: 16, CONTROL: 32, OWN: 64, REASON: 8 };
/** More are drawn without arrows and labels; and many more as densities. */
const ARROWS_MAX = 2000;
const LINES_MAX = 20000;
const LABELS_MAX = 40;
/** More actors are folded by zone. */
const ROWS_MAX = 60;
/** Of a lost message, so much of its way is drawn. */
const LOST_SHARE = 0.62;
const CELL = 8;

class Space {
  /** `hooks`: pan(ns), zoom(at, factor), pick(message or null, ns), extent(from, to), actor(number). */
  constructor(box, hooks) {
    this.box = box;
    this.hooks = hooks;
    this.picture = el('canvas', { 'aria-hidden': 'true' });
    this.above = el('canvas', { 'aria-hidden': 'true', class: 'above' });
    box.append(this.picture, this.above);
    this.messages = null;
    this.tiles = [];
    this.bars = [];
    this.unfolded = new Set();
    this.matches = null;
    this.chosen = null;
    this.cursor = null;
    this.extent = [0, 1];
    this.actors = [];
    this.down = [];
    this.listen();
  }

  get left() { return this.box.clientWidth < 620 ? 66 : 92; }
  get right() { return this.box.clientWidth - 10; }
  x(ns) { return this.left + ((ns - this.extent[0]) / (this.extent[1] - this.extent[0])) * (this.right - this.left); }
  back(x) { return this.extent[0] + ((x - this.left) / (this.right - this.left)) * (this.extent[1] - this.extent[0]); }

  /** Lines from top to bottom: coordinator, loads, then nodes by zone; many of them folded. */
  arrange() {
    const rank = { coordinator: 0, load: 1, gateway: 1, node: 2 };
    const order = this.actors.map((it, id) => ({ ...it, id })).filter((it) => it.kind !== 'gateway' || this.speaks(it.id));
    order.sort((a, b) => rank[a.kind] - rank[b.kind] || (a.zone || '').localeCompare(b.zone || '', 'en') || a.id - b.id);
    let shown = order;
    if (order.length > ROWS_MAX) {
      const own = new Set(this.bars.map((it) => it.node));
      this.each((m) => { if (m.fate & FATE.OWN) { own.add(m.from); own.add(m.to); } });
      shown = order.filter((it) => it.kind === 'coordinator' || own.has(it.id) || this.unfolded.has(it.zone || '')).slice(0, 400);
    }
    const kept = new Set(shown.map((it) => it.id));
    this.rows = shown.map((it) => ({ name: it.name, more: it.zone || '', ids: [it.id] }));
    const folded = new Map();
    for (const it of order) if (!kept.has(it.id)) folded.set(it.zone || '', [...(folded.get(it.zone || '') || []), it.id]);
    for (const [zone, ids] of folded) this.rows.push({ name: `${ids.length} more`, more: zone, ids, zone });
    this.rowOf = new Map();
    this.rows.forEach((row, index) => row.ids.forEach((id) => this.rowOf.set(id, index)));
    this.tall = Math.max(13, Math.min(38, 620 / Math.max(this.rows.length, 1)));
    this.height = 26 + this.rows.length * this.tall + 24;
  }

  y(id) { return 26 + (this.rowOf.get(id) ?? 0) * this.tall; }
  speaks(id) { let is = false; this.each((m) => { is = is || m.from === id || m.to === id; }); return is; }

  /** Each message. */
  each(take) {
    const all = this.messages;
    if (!all) return;
    for (let i = 0; i < all.sent.length; i++) take(this.at(i));
  }

  at(i) {
    const all = this.messages;
    return { i, sent: all.from_ns + all.sent[i], took: all.took[i], from: all.from[i], to: all.to[i], fate: all.fate[i], record: all.record[i], end: all.end[i], words: all.words[i] };
  }

  /** The ends of a message's line, in pixels. */
  line(m) {
    const isLost = m.fate & FATE.LOST;
    const took = m.took < 0 ? this.extent[1] - m.sent : isLost && m.took === 0 ? this.usual : m.took;
    return [this.x(m.sent), this.y(m.from), this.x(m.sent + took), this.y(m.to)];
  }

  draw() {
    const width = Math.floor(this.box.clientWidth);
    if (!width || !this.actors.length) return;
    this.arrange();
    this.box.style.height = this.height + 'px';
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue('--' + name).trim();
    this.colours = Object.fromEntries(['bg', 'ink', 'mut', 'rule', 'grid', 'p50', 'p90', 'p99', 'bad', 'badink', 'badbg', 'work', 'wait', 'op'].map((it) => [it, colour(it)]));
    const paint = this.prepare(this.picture, width);
    this.font = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';
    this.cells = new Map();
    this.drawAxis(paint);
    this.drawLives(paint);
    paint.save();
    paint.beginPath();
    paint.rect(this.left, 0, this.right - this.left, this.height);
    paint.clip();
    this.seen = { all: 0, lost: 0, own: 0, matched: 0 };
    if (this.tiles.length) this.drawTiles(paint);
    this.drawMessages(paint);
    paint.restore();
    this.drawAbove();
  }

  prepare(canvas, width) {
    const scale = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * scale), Math.round(this.height * scale)];
    if (canvas.width !== w || canvas.height !== h) {
      [canvas.width, canvas.height] = [w, h];
      canvas.style.width = width + 'px';
      canvas.style.height = this.height + 'px';
    }
    const paint = canvas.getContext('2d');
    paint.setTransform(scale, 0, 0, scale, 0, 0);
    paint.clearRect(0, 0, width, this.height);
    return paint;
  }

  drawAxis(paint) {
    const [from, to] = this.extent.map((it) => it / 1e9);
    const marks = ticks(from, to, Math.max(2, (this.right - this.left) / 110));
    const step = marks.length > 1 ? marks[1] - marks[0] : to - from;
    const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(step) - 1e-9)));
    paint.font = '11.5px ' + this.font;
    paint.textAlign = 'center';
    const bottom = this.height - 24;
    marks.forEach((second, index) => {
      const x = this.x(second * 1e9);
      paint.strokeStyle = this.colours.grid;
      paint.beginPath();
      paint.moveTo(x, 10);
      paint.lineTo(x, bottom);
      paint.stroke();
      paint.fillStyle = this.colours.mut;
      const words = second.toFixed(digits) + (index === marks.length - 1 ? ' s' : '');
      if (x > this.left + 10 && x < this.right - 4) paint.fillText(words, Math.min(x, this.right - words.length * 3.4), bottom + 18);
    });
  }

  drawLives(paint) {
    const { colours } = this;
    const shut = (id) => this.down.filter(([actor, from, to]) => actor === id && from < this.extent[1] && (to ?? Infinity) > this.extent[0]);
    this.rows.forEach((row, index) => {
      const y = 26 + index * this.tall;
      const outages = row.ids.length === 1 ? shut(row.ids[0]) : [];
      for (const [, from, to] of outages) {
        const x1 = Math.max(this.x(from), this.left);
        const x2 = Math.min(this.x(to ?? Infinity), this.right);
        paint.fillStyle = colours.badbg;
        paint.fillRect(x1, y - this.tall / 2, x2 - x1, this.tall);
      }
      paint.strokeStyle = colours.rule;
      paint.lineWidth = 1.2;
      paint.beginPath();
      paint.moveTo(this.left, y);
      paint.lineTo(this.right, y);
      paint.stroke();
      for (const [, from, to] of outages) {
        const x1 = Math.max(this.x(from), this.left);
        const x2 = Math.min(this.x(to ?? Infinity), this.right);
        paint.strokeStyle = colours.bg;
        paint.lineWidth = 2;
        paint.beginPath();
        paint.moveTo(x1, y);
        paint.lineTo(x2, y);
        paint.stroke();
        paint.strokeStyle = colours.bad;
        paint.lineWidth = 1.2;
        paint.setLineDash([1.5, 5]);
        paint.beginPath();
        paint.moveTo(x1, y);
        paint.lineTo(x2, y);
        paint.stroke();
        paint.setLineDash([]);
      }
      const isDown = outages.some(([, from, to]) => from <= this.extent[0] && (to ?? Infinity) >= this.extent[1]);
      const room = Math.floor((this.left - 6) / 7);
      paint.textAlign = 'left';
      paint.fillStyle = isDown ? colours.badink : colours.ink;
      paint.font = '600 12px ' + this.font;
      const isTwo = this.tall >= 26;
      const under = isDown ? '✕ down' : row.more;
      paint.fillText(short(row.name, room), 0, y + (isTwo && under ? 0 : 4));
      if (isTwo && under) {
        paint.font = '11px ' + this.font;
        paint.fillStyle = isDown ? colours.badink : colours.mut;
        paint.fillText(short(under, room + 2), 0, y + 13);
      }
    });
    for (const bar of this.bars) {
      if (!this.rowOf.has(bar.node)) continue;
      const [x1, x2] = [Math.max(this.x(bar.from), this.left), Math.min(this.x(bar.to), this.right)];
      if (x2 <= x1) continue;
      paint.fillStyle = bar.kind === 'queue' ? colours.wait : colours.work;
      paint.fillRect(x1, this.y(bar.node) - 3, Math.max(x2 - x1, 1), 6);
    }
  }

  drawMessages(paint) {
    const groups = [];
    const [from, to] = this.extent;
    const took = [];
    this.each((m) => {
      if (m.took > 0 && took.length < 999) took.push(m.took);
    });
    took.sort((a, b) => a - b);
    this.usual = took[took.length >> 1] || (to - from) / 30;
    this.each((m) => {
      if (m.sent > to || (m.took >= 0 && m.sent + Math.max(m.took, m.fate & FATE.LOST ? this.usual : 0) < from)) return;
      this.seen.all++;
      if (m.fate & FATE.LOST) this.seen.lost++;
      if (m.fate & FATE.OWN) this.seen.own++;
      const isMatch = this.matches && this.matches.has(m.record);
      if (isMatch) this.seen.matched++;
      const isLoud = this.matches ? isMatch : m.fate & FATE.OWN;
      const rank = (isLoud ? 4 : 0) + (m.fate & FATE.LOST ? 2 : m.fate & FATE.LATE ? 1 : 0);
      (groups[rank] = groups[rank] || []).push(m);
    });
    const isMany = this.seen.all > ARROWS_MAX;
    const loud = groups.slice(4).reduce((all, group) => all + group.length, 0);
    const isDense = this.tiles.length > 0 || this.seen.all > LINES_MAX;
    if (isDense && !this.tiles.length) this.drawCounted(paint);
    const labels = [];
    groups.forEach((group, rank) => {
      const isLoud = rank >= 4;
      if (isDense && !isLoud && !this.tiles.length && !(rank & 2)) return;
      const isFaint = this.matches || this.hasOwn;
      const alpha = isLoud ? 1 : isDense && !(rank & 2) ? Math.max(0.08, Math.min(0.38, 40 / group.length)) : isFaint ? 0.38 : 0.7;
      for (const m of group) this.drawMessage(paint, m, { isLoud: isLoud && loud <= 200, isMany: (isMany || isDense) && !(isLoud && loud <= 200), alpha });
      if (isLoud || (!isMany && this.seen.all <= 30)) labels.push(...group);
    });
    // More labels than these hide what they are to explain.
    if (!isDense && labels.length <= LABELS_MAX) this.drawLabels(paint, labels);
  }

  drawMessage(paint, m, { isLoud, isMany, alpha }) {
    const { colours } = this;
    const isLost = m.fate & FATE.LOST;
    let [x1, y1, x2, y2] = this.line(m);
    paint.globalAlpha = alpha;
    const tone = isLost ? colours.bad : m.fate & FATE.LATE ? colours.wait : isLoud ? colours.p99 : colours.mut;
    paint.strokeStyle = tone;
    paint.fillStyle = tone;
    paint.lineWidth = isMany ? 0.7 : isLoud ? 2 : m.fate & FATE.COPY ? 0.6 : 1;
    paint.setLineDash(isLost ? [4, 3] : m.fate & (FATE.COPY | FATE.UNDER_WAY) ? [2, 2] : []);
    if (m.from === m.to && !isLost) {
      const rise = Math.min(10, this.tall / 3);
      paint.beginPath();
      paint.moveTo(x1, y1);
      paint.quadraticCurveTo((x1 + x2) / 2, y1 - 2 * rise, Math.max(x2, x1 + 3), y1);
      paint.stroke();
      paint.setLineDash([]);
      paint.globalAlpha = 1;
      this.remember(m, x1, y1, Math.max(x2, x1 + 3), y1 - rise);
      return;
    }
    let flat = null;
    if (m.fate & FATE.HELD && !isLost) {
      flat = x2;
      x2 = Math.min(x2, this.x(m.sent + this.usual));
    }
    if (isLost) [x2, y2] = [x1 + (x2 - x1) * LOST_SHARE, y1 + (y2 - y1) * LOST_SHARE];
    paint.beginPath();
    paint.moveTo(x1, y1);
    paint.lineTo(x2, y2);
    paint.stroke();
    paint.setLineDash([]);
    if (flat !== null && flat > x2) {
      paint.lineWidth = 3;
      paint.beginPath();
      paint.moveTo(x2, y2 - 2);
      paint.lineTo(flat, y2 - 2);
      paint.stroke();
      this.remember(m, x2, y2, flat, y2);
    }
    if (isLost) {
      paint.lineWidth = isLoud ? 2.4 : 1.4;
      const r = isLoud ? 5 : isMany ? 2 : 4;
      paint.beginPath();
      paint.moveTo(x2 - r, y2 - r); paint.lineTo(x2 + r, y2 + r);
      paint.moveTo(x2 - r, y2 + r); paint.lineTo(x2 + r, y2 - r);
      paint.stroke();
    } else if (!isMany && !(m.fate & FATE.UNDER_WAY)) this.head(paint, x1, y1, flat ?? x2, y2, isLoud ? 7 : 5, flat !== null);
    paint.globalAlpha = 1;
    this.remember(m, x1, y1, x2, y2);
  }

  head(paint, x1, y1, x2, y2, size, isFlat) {
    const angle = isFlat ? 0 : Math.atan2(y2 - y1, x2 - x1);
    paint.beginPath();
    paint.moveTo(x2, y2);
    paint.lineTo(x2 - size * Math.cos(angle - 0.38), y2 - size * Math.sin(angle - 0.38));
    paint.lineTo(x2 - size * Math.cos(angle + 0.38), y2 - size * Math.sin(angle + 0.38));
    paint.fill();
  }

  /** Which messages pass near a place: a grid of cells. */
  remember(m, x1, y1, x2, y2) {
    const steps = Math.min(400, Math.ceil(Math.max(Math.abs(x2 - x1), Math.abs(y2 - y1)) / CELL)) || 1;
    for (let i = 0; i <= steps; i++) {
      const x = x1 + ((x2 - x1) * i) / steps;
      if (x < this.left || x > this.right) continue;
      const key = Math.floor(x / CELL) * 4096 + Math.floor((y1 + ((y2 - y1) * i) / steps) / CELL);
      const there = this.cells.get(key);
      if (!there) this.cells.set(key, [m.i]);
      else if (there.length < 40 && there[there.length - 1] !== m.i) there.push(m.i);
    }
  }

  /** The message nearest to a place, within some pixels. */
  near(x, y) {
    let best = null;
    const seen = new Set();
    for (let dx = -1; dx <= 1; dx++) for (let dy = -1; dy <= 1; dy++) {
      for (const i of this.cells?.get((Math.floor(x / CELL) + dx) * 4096 + Math.floor(y / CELL) + dy) || []) {
        if (seen.has(i)) continue;
        seen.add(i);
        const m = this.at(i);
        let [x1, y1, x2, y2] = this.line(m);
        if (m.fate & FATE.LOST) [x2, y2] = [x1 + (x2 - x1) * LOST_SHARE, y1 + (y2 - y1) * LOST_SHARE];
        const length = (x2 - x1) ** 2 + (y2 - y1) ** 2 || 1;
        const t = Math.max(0, Math.min(1, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length));
        const away = Math.hypot(x - x1 - t * (x2 - x1), y - y1 - t * (y2 - y1)) - (m.fate & FATE.OWN ? 3 : 0) - (m.fate & FATE.LOST ? 1 : 0);
        if (!best || away < best.away) best = { away, m };
      }
    }
    return best && best.away < 9 ? best.m : null;
  }

  words(m) {
    const said = this.messages.said[m.words];
    if (!said) return '';
    return said[0] === 'request' ? said[1].replace(/^request /, '') : said[0] === 'reply' ? 'reply' + (said[1].match(/: .*/) || [''])[0] : said[1];
  }

  drawLabels(paint, group) {
    paint.font = '11.5px ' + this.font;
    paint.textAlign = 'left';
    const taken = [];
    const ordered = [...group].sort((a, b) => (b.fate & FATE.LOST) - (a.fate & FATE.LOST) || a.sent - b.sent);
    for (const m of ordered) {
      let [x1, y1, x2, y2] = this.line(m);
      const isLost = m.fate & FATE.LOST;
      if (isLost) [x2, y2] = [x1 + (x2 - x1) * LOST_SHARE, y1 + (y2 - y1) * LOST_SHARE];
      const words = short(this.words(m) + (isLost ? ': lost' : m.fate & FATE.LATE ? ': late' : ''), 34);
      const long = paint.measureText(words).width;
      const [mx, my] = isLost ? [x2 + 9, y2 + 4] : [(x1 + x2) / 2 + 6, (y1 + y2) / 2 + 4];
      for (const [dx, dy] of isLost ? [[0, 0], [0, 14], [0, -14]] : [[0, 0], [-long - 12, 0], [0, this.tall * 0.28], [-long - 12, -this.tall * 0.28]]) {
        const box = [mx + dx - 2, my + dy - 11, mx + dx + long + 2, my + dy + 3];
        if (box[0] < this.left || box[2] > this.right) continue;
        if (taken.some((it) => it[0] < box[2] && it[2] > box[0] && it[1] < box[3] && it[3] > box[1])) continue;
        taken.push(box);
        paint.lineWidth = 3.5;
        paint.strokeStyle = this.colours.bg;
        paint.strokeText(words, mx + dx, my + dy);
        paint.fillStyle = isLost ? this.colours.badink : m.fate & FATE.OWN ? this.colours.p99 : this.colours.mut;
        paint.fillText(words, mx + dx, my + dy);
        break;
      }
    }
  }

  /** Strips of how much each actor sent, received and lost. */
  drawTiles(paint) {
    const strips = new Map();
    let highest = 1;
    for (const tile of this.tiles) {
      for (const [id, density] of Object.entries(tile.actors)) {
        const row = this.rowOf.get(Number(id));
        if (row === undefined) continue;
        for (let i = 0; i < density.sent.length; i++) {
          const [x1, x2] = [this.x(tile.from_ns + i * tile.column_ns), this.x(tile.from_ns + (i + 1) * tile.column_ns)];
          const all = density.sent[i] + density.received[i];
          if (x2 < this.left || x1 > this.right || (!all && !density.lost[i])) continue;
          const perPixel = all / Math.max(x2 - x1, 0.5);
          highest = Math.max(highest, perPixel);
          if (!strips.has(row)) strips.set(row, []);
          strips.get(row).push([x1, x2, perPixel, density.lost[i]]);
        }
      }
    }
    this.drawStrips(paint, strips, highest);
  }

  /** The same from the messages themselves. */
  drawCounted(paint) {
    const strips = new Map();
    const counts = new Map();
    let highest = 1;
    const add = (row, x, place) => {
      const key = row * 1e5 + Math.floor(x);
      if (!counts.has(key)) counts.set(key, [0, 0]);
      counts.get(key)[place]++;
    };
    this.each((m) => {
      if (m.sent < this.extent[0] || m.sent > this.extent[1]) return;
      add(this.rowOf.get(m.from), this.x(m.sent), 0);
      if (m.took >= 0) add(this.rowOf.get(m.to), this.x(m.sent + m.took), m.fate & FATE.LOST ? 1 : 0);
    });
    for (const [key, [all, lost]] of counts) {
      const [row, x] = [Math.floor(key / 1e5), key % 1e5];
      highest = Math.max(highest, all);
      if (!strips.has(row)) strips.set(row, []);
      strips.get(row).push([x, x + 1, all, lost]);
    }
    this.drawStrips(paint, strips, highest);
  }

  drawStrips(paint, strips, highest) {
    for (const [row, parts] of strips) {
      const y = 26 + row * this.tall;
      paint.fillStyle = this.colours.p50;
      for (const [x1, x2, all] of parts) {
        const tall = Math.sqrt(all / highest) * (this.tall * 0.42);
        paint.fillRect(x1, y - tall, Math.max(x2 - x1, 0.8), tall * 2);
      }
      paint.fillStyle = this.colours.bad;
      for (const [x1, x2, , lost] of parts) if (lost) paint.fillRect(x1, y - this.tall * 0.46, Math.max(x2 - x1, 1.5), this.tall * 0.2);
    }
  }

  /** Hairline and selection, over the picture. */
  drawAbove() {
    const width = Math.floor(this.box.clientWidth);
    const paint = this.prepare(this.above, width);
    const { colours } = this;
    if (!colours) return;
    if (this.cursor !== null && this.cursor >= this.extent[0] && this.cursor <= this.extent[1]) {
      paint.strokeStyle = colours.ink;
      paint.globalAlpha = 0.55;
      paint.beginPath();
      paint.moveTo(this.x(this.cursor), 6);
      paint.lineTo(this.x(this.cursor), this.height - 22);
      paint.stroke();
      paint.globalAlpha = 1;
    }
    if (this.brush) {
      paint.fillStyle = colours.p90;
      paint.globalAlpha = 0.18;
      paint.fillRect(Math.min(...this.brush), 0, Math.abs(this.brush[1] - this.brush[0]), this.height - 22);
      paint.globalAlpha = 1;
    }
    for (const [record, isFirm] of [[this.hovered, false], [this.chosen, true]]) {
      if (record === null || record === undefined) continue;
      let found = null;
      this.each((m) => { if (m.record === record || (m.end === record && record)) found = m; });
      if (!found) continue;
      let [x1, y1, x2, y2] = this.line(found);
      if (found.fate & FATE.LOST) [x2, y2] = [x1 + (x2 - x1) * LOST_SHARE, y1 + (y2 - y1) * LOST_SHARE];
      paint.save();
      paint.beginPath();
      paint.rect(this.left - 8, 0, this.right - this.left + 16, this.height);
      paint.clip();
      paint.strokeStyle = found.fate & FATE.LOST ? colours.bad : colours.ink;
      paint.lineWidth = isFirm ? 2.2 : 1.4;
      paint.setLineDash(found.fate & FATE.LOST ? [4, 3] : []);
      paint.beginPath();
      paint.moveTo(x1, y1);
      paint.lineTo(x2, y2);
      paint.stroke();
      paint.setLineDash([]);
      if (isFirm) {
        paint.strokeStyle = colours.ink;
        paint.lineWidth = 1.6;
        paint.beginPath();
        paint.arc(x1, y1, 6, 0, 7);
        paint.stroke();
      }
      paint.restore();
    }
  }

  listen() {
    const place = (event) => {
      const box = this.picture.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let began = null;
    const touches = new Map();
    this.box.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      const [x, y] = place(event);
      touches.set(event.pointerId, x);
      began = { x, y, last: x, isBrush: event.shiftKey, isDrag: false, isTouch: event.pointerType === 'touch' };
      if (!began.isTouch) this.box.setPointerCapture(event.pointerId);
    });
    this.box.addEventListener('pointermove', (event) => {
      const [x, y] = place(event);
      if (!began) {
        const m = this.near(x, y);
        this.hovered = m ? m.record : null;
        this.box.style.cursor = m || x < this.left ? 'pointer' : 'grab';
        this.hooks.hover(x < this.left || x > this.right ? null : this.back(x), m);
        return;
      }
      if (touches.size > 1) {
        const before = [...touches.values()];
        touches.set(event.pointerId, x);
        const after = [...touches.values()];
        const [wide_, wider] = [Math.abs(before[0] - before[1]), Math.abs(after[0] - after[1])];
        if (wide_ > 8 && wider > 8) this.hooks.zoom(this.back((after[0] + after[1]) / 2), wide_ / wider);
        began.isDrag = true;
        return;
      }
      touches.set(event.pointerId, x);
      if (Math.abs(x - began.x) > 4) began.isDrag = true;
      if (!began.isDrag) return;
      if (began.isBrush) {
        this.brush = [began.x, x];
        this.drawAbove();
      } else {
        this.hooks.pan(((began.last - x) / (this.right - this.left)) * (this.extent[1] - this.extent[0]));
      }
      began.last = x;
    });
    const end = (event) => {
      touches.delete(event.pointerId);
      if (!began) return;
      const [x, y] = place(event);
      const it = began;
      began = null;
      if (it.isBrush && it.isDrag) {
        const [from, to] = [this.back(Math.min(it.x, x)), this.back(Math.max(it.x, x))];
        this.brush = null;
        this.hooks.extent(from, to);
      } else if (it.isDrag) this.hooks.settled();
      else if (x < this.left) {
        const row = this.rows[Math.round((y - 26) / this.tall)];
        if (row && row.zone !== undefined) { this.unfolded.add(row.zone); this.draw(); }
        else if (row) this.hooks.actor(row.ids[0]);
      } else this.hooks.pick(this.near(x, y), this.back(x));
    };
    this.box.addEventListener('pointerup', end);
    this.box.addEventListener('pointercancel', (event) => { touches.delete(event.pointerId); began = null; this.brush = null; });
    this.box.addEventListener('pointerleave', () => { if (!began) { this.hovered = null; this.hooks.hover(null, null); } });
    this.box.addEventListener('dblclick', (event) => { this.hooks.zoom(this.back(place(event)[0]), 1 / 4); this.hooks.settled(); });
    this.box.addEventListener('wheel', (event) => {
      if (event.ctrlKey) this.hooks.zoom(this.back(place(event)[0]), event.deltaY > 0 ? 1.25 : 0.8);
      else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        this.hooks.pan((((event.deltaX || event.deltaY) / (this.right - this.left)) * (this.extent[1] - this.extent[0])));
      } else return;
      event.preventDefault();
      this.hooks.settled();
    }, { passive: false });
  }
}
