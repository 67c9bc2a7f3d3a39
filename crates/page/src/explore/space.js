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
    this.measure();
    this.listen();
  }

  /** Where the lines of actors begin and end; asked so often that the width is kept. */
  measure() {
    this.wide = Math.floor(this.box.clientWidth);
    this.left = this.wide < 620 ? 66 : 92;
    this.right = this.wide - 10;
  }

  x(ns) { return this.left + ((ns - this.extent[0]) / (this.extent[1] - this.extent[0])) * (this.right - this.left); }
  back(x) { return this.extent[0] + ((x - this.left) / (this.right - this.left)) * (this.extent[1] - this.extent[0]); }

  /** Lines from top to bottom: coordinator, loads, then nodes by zone; many of them folded. */
  arrange() {
    const rank = { coordinator: 0, load: 1, gateway: 1, node: 2 };
    const speakers = this.facts().speakers;
    const order = this.actors.map((it, id) => ({ ...it, id })).filter((it) => it.kind !== 'gateway' || speakers.has(it.id));
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

  /** Who speaks, and how long a message usually takes; found out once for the messages that are there. */
  facts() {
    if (this.factsOf !== this.messages || !this.known) {
      const { took, from, to } = this.messages ?? { took: [], from: [], to: [] };
      const times = took.filter((it) => it > 0).slice(0, 999).sort((a, b) => a - b);
      this.known = { speakers: new Set([...from, ...to]), usual: times[times.length >> 1] || 5e5 };
      this.factsOf = this.messages;
    }
    return this.known;
  }

  get usual() { return this.facts().usual; }

  /** The ends of a message's line, in pixels. */
  line(m) {
    const isLost = m.fate & FATE.LOST;
    const took = m.took < 0 ? this.extent[1] - m.sent : isLost && m.took === 0 ? this.usual : m.took;
    return [this.x(m.sent), this.y(m.from), this.x(m.sent + took), this.y(m.to)];
  }

  draw() {
    this.measure();
    const width = this.wide;
    if (!width || !this.actors.length) return;
    this.arrange();
    this.box.style.height = this.height + 'px';
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue('--' + name).trim();
    this.colours = Object.fromEntries(['bg', 'ink', 'mut', 'rule', 'grid', 'p50', 'p90', 'p99', 'bad', 'badink', 'badbg', 'work', 'wait', 'op'].map((it) => [it, colour(it)]));
    const paint = this.prepare(this.picture, width);
    this.font = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';
    this.segments = [];
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
    const marks = ticks(from, to, Math.max(2, (this.right - this.left) / (this.wide < 620 ? 80 : 110)));
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
    const { usual } = this;
    const all = this.messages;
    for (let i = 0; i < (all ? all.sent.length : 0); i++) {
      const [sent, took] = [all.from_ns + all.sent[i], all.took[i]];
      if (sent > to || (took >= 0 && sent + Math.max(took, all.fate[i] & FATE.LOST ? usual : 0) < from)) continue;
      const m = this.at(i);
      this.seen.all++;
      if (m.fate & FATE.LOST) this.seen.lost++;
      if (m.fate & FATE.OWN) this.seen.own++;
      const isMatch = this.matches && this.matches.has(m.record);
      if (isMatch) this.seen.matched++;
      const isLoud = this.matches ? isMatch : m.fate & FATE.OWN;
      const rank = (isLoud ? 4 : 0) + (m.fate & FATE.LOST ? 2 : m.fate & FATE.LATE ? 1 : 0);
      (groups[rank] = groups[rank] || []).push(m);
    }
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
      const isFew = isLoud && loud <= 200;
      const tone = rank & 2 ? this.colours.bad : rank & 1 ? this.colours.wait : isFew ? this.colours.p99 : this.colours.mut;
      this.drawGroup(paint, group, { isLoud: isFew, isMany: (isMany || isDense) && !isFew, alpha, tone });
      if (isLoud || (!isMany && this.seen.all <= 30)) labels.push(...group);
    });
    // More labels than these hide what they are to explain.
    if (!isDense && labels.length <= LABELS_MAX) this.drawLabels(paint, labels);
  }

  /** Messages of one look, with one path for all lines of a kind: a line by itself costs as much as a hundred. */
  drawGroup(paint, group, { isLoud, isMany, alpha, tone }) {
    const [plain, dashed, thick, marks, heads] = [new Path2D(), new Path2D(), new Path2D(), new Path2D(), new Path2D()];
    const r = isLoud ? 5 : isMany ? 2 : 4;
    for (const m of group) {
      const isLost = m.fate & FATE.LOST;
      let [x1, y1, x2, y2] = this.line(m);
      if (m.from === m.to && !isLost) {
        const rise = Math.min(10, this.tall / 3);
        x2 = Math.max(x2, x1 + 3);
        plain.moveTo(x1, y1);
        plain.quadraticCurveTo((x1 + x2) / 2, y1 - 2 * rise, x2, y1);
        this.segments.push(x1, y1, x2, y1 - rise, m.i);
        continue;
      }
      let flat = null;
      if (m.fate & FATE.HELD && !isLost) [flat, x2] = [x2, Math.min(x2, this.x(m.sent + this.usual))];
      if (isLost) [x2, y2] = [x1 + (x2 - x1) * LOST_SHARE, y1 + (y2 - y1) * LOST_SHARE];
      // Of many, dashes would be too small to be seen.
      const path = !isMany && (isLost || m.fate & (FATE.COPY | FATE.UNDER_WAY)) ? dashed : plain;
      path.moveTo(x1, y1);
      path.lineTo(x2, y2);
      this.segments.push(x1, y1, x2, y2, m.i);
      if (flat !== null && flat > x2) {
        thick.moveTo(x2, y2 - 2);
        thick.lineTo(flat, y2 - 2);
        this.segments.push(x2, y2, flat, y2, m.i);
      }
      if (isLost) {
        marks.moveTo(x2 - r, y2 - r); marks.lineTo(x2 + r, y2 + r);
        marks.moveTo(x2 - r, y2 + r); marks.lineTo(x2 + r, y2 - r);
      } else if (!isMany && !(m.fate & FATE.UNDER_WAY)) this.head(heads, x1, y1, flat ?? x2, y2, isLoud ? 7 : 5, flat !== null);
    }
    paint.globalAlpha = alpha;
    [paint.strokeStyle, paint.fillStyle] = [tone, tone];
    paint.lineWidth = isMany ? 0.7 : isLoud ? 2 : 1;
    paint.stroke(plain);
    paint.setLineDash([4, 3]);
    paint.stroke(dashed);
    paint.setLineDash([]);
    paint.fill(heads);
    paint.lineWidth = 3;
    paint.stroke(thick);
    paint.lineWidth = isLoud ? 2.4 : isMany ? 1 : 1.4;
    paint.stroke(marks);
    paint.globalAlpha = 1;
  }

  head(path, x1, y1, x2, y2, size, isFlat) {
    const angle = isFlat ? 0 : Math.atan2(y2 - y1, x2 - x1);
    path.moveTo(x2, y2);
    path.lineTo(x2 - size * Math.cos(angle - 0.38), y2 - size * Math.sin(angle - 0.38));
    path.lineTo(x2 - size * Math.cos(angle + 0.38), y2 - size * Math.sin(angle + 0.38));
    path.closePath();
  }

  /** The message nearest to a place, within some pixels. */
  near(x, y) {
    let best = null;
    const { segments } = this;
    for (let at = 0; at < (segments?.length ?? 0); at += 5) {
      const [x1, y1] = [segments[at], segments[at + 1]];
      const [dx, dy] = [segments[at + 2] - x1, segments[at + 3] - y1];
      const t = Math.max(0, Math.min(1, ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy || 1)));
      const away = Math.hypot(x - x1 - t * dx, y - y1 - t * dy);
      // What is marked is meant rather than what lies beside it.
      const fate = this.messages.fate[segments[at + 4]];
      const weighed = away - (fate & FATE.OWN ? 3 : 0) - (fate & FATE.LOST ? 1 : 0);
      if (away < 10 && (!best || weighed < best.weighed)) best = { weighed, i: segments[at + 4] };
    }
    return best ? this.at(best.i) : null;
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
      // One outline a row: a rectangle for each column takes a hundred times as long.
      parts.sort((a, b) => a[0] - b[0]);
      const tall = ([, , many]) => Math.sqrt(many / highest) * this.tall * 0.42;
      paint.beginPath();
      paint.moveTo(parts[0][0], y);
      parts.forEach((it, i) => {
        if (i > 0 && it[0] - parts[i - 1][1] > 0.5) { paint.lineTo(parts[i - 1][1], y); paint.lineTo(it[0], y); }
        paint.lineTo(it[0], y - tall(it));
        paint.lineTo(it[1], y - tall(it));
      });
      for (let i = parts.length - 1; i >= 0; i--) {
        if (i < parts.length - 1 && parts[i + 1][0] - parts[i][1] > 0.5) { paint.lineTo(parts[i + 1][0], y); paint.lineTo(parts[i][1], y); }
        paint.lineTo(parts[i][1], y + tall(parts[i]));
        paint.lineTo(parts[i][0], y + tall(parts[i]));
      }
      paint.fillStyle = this.colours.p50;
      paint.fill();
      paint.fillStyle = this.colours.bad;
      for (const [x1, x2, , lost] of parts) if (lost) paint.fillRect(x1, y - this.tall * 0.46, Math.max(x2 - x1, 1.5), this.tall * 0.2);
    }
  }

  /** Hairline and selection, over the picture. */
  drawAbove() {
    const { colours } = this;
    if (!colours) return;
    const paint = this.prepare(this.above, this.wide);
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
