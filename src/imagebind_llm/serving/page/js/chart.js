// A canvas of dots that can be moved and zoomed, with the place of a query.

import { lessMotion } from './dom.js';
import { colourOf, shapeOf } from './palette.js';

const REACH = 12;

/** Dots, and where a query lies among them. */
export class Chart {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{points: [number, number, number][], captions: Record<string, string>}} dots
   * @param {{before: [number, number], after: [number, number], retrieved: {index: number}[]} | null} place
   * @param {(found: object | null) => void} onHover
   */
  constructor(canvas, dots, place, onHover) {
    Object.assign(this, { canvas, dots, place, onHover });
    this.picked = null;
    this.began = performance.now();
    this.near = new Set((place?.retrieved ?? []).map((one) => one.index));
    this.draw = canvas.getContext('2d');
    this.watcher = new ResizeObserver(() => this.#fit());
    this.watcher.observe(canvas);
    this.themes = new MutationObserver(() => this.paint());
    this.themes.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    this.pointers = new Map();
    this.#listen();
    this.zoom(0);
  }

  /** Stop watching. */
  end() {
    this.watcher.disconnect();
    this.themes.disconnect();
  }

  /** Show the dots of one caption only, or all with null. */
  pick(caption) {
    this.picked = caption;
    this.paint();
  }

  /**
   * Zoom by a factor around a point of the canvas; 0 shows everything.
   * @param {number} factor
   * @param {number} [x]
   * @param {number} [y]
   */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    if (factor) {
      const scale = Math.min(60, Math.max(0.6, this.scale * factor));
      this.left = x - ((x - this.left) * scale) / this.scale;
      this.top = y - ((y - this.top) * scale) / this.scale;
      this.scale = scale;
    } else {
      Object.assign(this, { scale: 1, left: 0, top: 0 });
      this.#bounds();
    }
    this.#ask();
  }

  /** Draw everything. */
  paint() {
    const { draw, canvas } = this;
    const ratio = Math.min(devicePixelRatio, 2);
    const style = getComputedStyle(canvas);
    draw.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    const size = Math.min(7, 2.4 * Math.sqrt(this.scale));
    for (const [x, y, index] of this.dots.points) {
      const caption = this.dots.captions[index] ?? '';
      const dim = this.picked !== null && this.picked !== caption;
      draw.fillStyle = colourOf(caption, dim ? 0.06 : this.place && this.picked === null && !this.near.has(index) ? 0.42 : 0.8);
      outline(draw, shapeOf(caption), ...this.#at(x, y), this.near.has(index) ? size + 1.5 : size);
      draw.fill();
      if (!this.near.has(index)) continue;
      draw.lineWidth = 1.5;
      draw.strokeStyle = style.getPropertyValue('--ink');
      draw.stroke();
    }
    if (this.place) this.#query(style);
  }

  #query(style) {
    const { draw } = this;
    const grown = lessMotion() ? 1 : Math.min(1, (performance.now() - this.began) / 900);
    const ease = 1 - (1 - grown) ** 3;
    const from = this.#at(...this.place.before);
    const to = this.#at(...this.place.after).map((value, axis) => from[axis] + (value - from[axis]) * ease);
    const [ink, paper, accent] = ['--ink', '--card', '--accent'].map((name) => style.getPropertyValue(name));
    draw.lineWidth = 2.5;
    draw.strokeStyle = ink;
    draw.setLineDash([5, 5]);
    draw.beginPath();
    draw.moveTo(...from);
    draw.lineTo(...to);
    draw.stroke();
    draw.setLineDash([]);
    for (const [place, fill] of [[from, paper], [to, accent]]) {
      draw.beginPath();
      draw.arc(...place, 9, 0, 7);
      draw.fillStyle = fill;
      draw.fill();
      draw.stroke();
    }
    if (grown < 1) this.#ask();
  }

  #bounds() {
    const all = [...this.dots.points, ...(this.place ? [this.place.before, this.place.after] : [])];
    const reach = (axis) => [Math.min(...all.map((one) => one[axis])), Math.max(...all.map((one) => one[axis]))];
    [this.x, this.y] = [reach(0), reach(1)];
  }

  #at(x, y) {
    const { clientWidth: wide, clientHeight: high } = this.canvas;
    const margin = 30;
    const unit = Math.min((wide - 2 * margin) / (this.x[1] - this.x[0] || 1), (high - 2 * margin) / (this.y[1] - this.y[0] || 1));
    const across = wide / 2 + (x - (this.x[0] + this.x[1]) / 2) * unit;
    const down = high / 2 - (y - (this.y[0] + this.y[1]) / 2) * unit;
    return [across * this.scale + this.left, down * this.scale + this.top];
  }

  #ask() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  }

  #fit() {
    const ratio = Math.min(devicePixelRatio, 2);
    this.canvas.width = this.canvas.clientWidth * ratio;
    this.canvas.height = this.canvas.clientHeight * ratio;
    this.paint();
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 350), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    });
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener('pointerleave', () => this.onHover(null));
    canvas.addEventListener('keydown', (event) => {
      const steps = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
      const zooms = { '+': 1.3, '=': 1.3, '-': 1 / 1.3, 0: 0 };
      if (event.key in zooms) this.zoom(zooms[event.key]);
      else if (event.key in steps) this.#shift(...steps[event.key]);
      else return;
      event.preventDefault();
    });
  }

  #move(event) {
    const place = [event.offsetX, event.offsetY];
    const last = this.pointers.get(event.pointerId);
    if (!last) return this.onHover(this.#find(...place));
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, one]) => one);
    this.pointers.set(event.pointerId, place);
    if (!others.length) return this.#shift(place[0] - last[0], place[1] - last[1]);
    const [other] = others;
    const far = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
    this.zoom(far(place) / far(last), (place[0] + other[0]) / 2, (place[1] + other[1]) / 2);
  }

  #shift(x, y) {
    this.left += x;
    this.top += y;
    this.#ask();
  }

  #find(x, y) {
    for (const [key, place] of this.place ? [['placeAfter', this.place.after], ['placeBefore', this.place.before]] : []) {
      if (Math.hypot(...this.#at(...place).map((value, axis) => value - [x, y][axis])) < REACH) return { x, y, key };
    }
    let best = null;
    for (const [px, py, index] of this.dots.points) {
      const [ax, ay] = this.#at(px, py);
      const far = Math.hypot(ax - x, ay - y);
      if (far < (best?.far ?? REACH)) best = { x: ax, y: ay, far, index, caption: this.dots.captions[index] ?? '' };
    }
    return best;
  }
}

function outline(draw, shape, x, y, size) {
  draw.beginPath();
  if (shape === 'circle') draw.arc(x, y, size, 0, 7);
  else if (shape === 'square') draw.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
  else {
    draw.moveTo(x, y - size * 1.25);
    draw.lineTo(x + size * 1.15, y + size * 0.85);
    draw.lineTo(x - size * 1.15, y + size * 0.85);
    draw.closePath();
  }
}
