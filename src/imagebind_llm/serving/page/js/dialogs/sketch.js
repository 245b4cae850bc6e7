// A pad to draw on with finger, pen or mouse. What comes out is a picture of dark strokes on white.

import { el, paintSlider } from '../dom.js';
import { openDialog } from './dialog.js';

const SIDE = 560;
const OUT = 280;

/**
 * Let somebody draw.
 * @returns {Promise<File | null>}
 */
export async function sketch() {
  const strokes = [];
  let current = null;
  const canvas = el('canvas', { class: 'pad', width: SIDE, height: SIDE, tLabel: 'sketchPad', role: 'img' });
  const draw = canvas.getContext('2d');
  const brush = el('input', { type: 'range', min: '8', max: '72', step: '2', value: '38', tLabel: 'brushSize' });
  const undo = el('button', { class: 'icon-button', icon: 'undo', tLabel: 'undo', disabled: true, on: { click: () => back() } });
  const clear = el('button', { class: 'button small', t: 'clear', disabled: true, on: { click: () => wipe() } });
  const use = el('button', { class: 'button primary', t: 'useSketch', disabled: true, on: { click: () => finish() } });
  const empty = el('p', { class: 'pad-hint', t: 'drawHere' });
  const show = () => {
    paint(draw, strokes, SIDE);
    for (const button of [undo, clear, use]) button.disabled = !strokes.length;
    empty.hidden = strokes.length > 0;
  };
  const back = () => {
    strokes.pop();
    show();
  };
  const wipe = () => {
    strokes.length = 0;
    show();
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  };
  canvas.addEventListener('pointerdown', (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    current = { width: Number(brush.value), points: [at(event)] };
    strokes.push(current);
    show();
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!current) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) current.points.push(at(one));
    show();
  });
  for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, () => { current = null; });
  brush.addEventListener('input', () => paintSlider(brush));
  const finish = () => picture(strokes).toBlob((blob) => dialog.close(new File([blob], 'sketch.png', { type: 'image/png' })));
  const dialog = openDialog({
    t: 'sketch',
    class: 'sketch',
    body: [
      el('div', { class: 'pad-frame' }, canvas, empty),
      el('div', { class: 'pad-tools' }, undo, clear, el('label', { class: 'pad-brush' }, el('span', { t: 'brush' }), brush)),
    ],
    actions: [el('button', { class: 'button', t: 'cancel', on: { click: () => dialog.close() } }), use],
  });
  dialog.element.addEventListener('keydown', (event) => {
    if (event.key === 'z' && (event.ctrlKey || event.metaKey) && strokes.length) back();
  });
  paintSlider(brush);
  show();
  return dialog.closed;
}

function paint(draw, strokes, side) {
  draw.fillStyle = '#fff';
  draw.fillRect(0, 0, side, side);
  draw.strokeStyle = draw.fillStyle = '#16171c';
  draw.lineCap = draw.lineJoin = 'round';
  for (const { width, points } of strokes) {
    draw.lineWidth = width;
    draw.beginPath();
    draw.moveTo(...points[0]);
    if (points.length === 1) draw.lineTo(points[0][0] + 0.1, points[0][1]);
    for (let at = 1; at < points.length; at++) {
      const [x, y] = points[at - 1];
      draw.quadraticCurveTo(x, y, (x + points[at][0]) / 2, (y + points[at][1]) / 2);
    }
    draw.lineTo(...points[points.length - 1]);
    draw.stroke();
  }
}

// What was drawn, moved to the middle and brought to one size: a small drawing in a corner is read as well as a big one.
function picture(strokes) {
  const wide = Math.max(...strokes.map((stroke) => stroke.width)) / 2;
  const all = strokes.flatMap((stroke) => stroke.points);
  const [left, right] = [Math.min(...all.map(([x]) => x)) - wide, Math.max(...all.map(([x]) => x)) + wide];
  const [top, bottom] = [Math.min(...all.map(([, y]) => y)) - wide, Math.max(...all.map(([, y]) => y)) + wide];
  const side = Math.max(right - left, bottom - top, SIDE / 6) / 0.7;
  const made = document.createElement('canvas');
  made.width = made.height = OUT;
  const draw = made.getContext('2d');
  const factor = OUT / side;
  const move = ([x, y]) => [(x - (left + right) / 2 + side / 2) * factor, (y - (top + bottom) / 2 + side / 2) * factor];
  paint(draw, strokes.map(({ width, points }) => ({ width: width * factor, points: points.map(move) })), OUT);
  return made;
}
