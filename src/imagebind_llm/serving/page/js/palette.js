// A colour and a shape for every caption, the same in the gallery and on the map: in the order in which captions are met,
// so that those that are shown together differ.

const COLOURS = [
  [355, 72, 54], [215, 78, 52], [130, 52, 40], [32, 90, 50], [280, 58, 56], [184, 75, 40], [330, 75, 64],
  [48, 88, 44], [240, 72, 71], [22, 50, 38], [85, 60, 41], [8, 82, 69], [200, 72, 64], [305, 60, 68],
  [62, 45, 36], [158, 52, 56], [345, 62, 40], [172, 72, 29], [262, 46, 44], [222, 14, 55],
];
const ROUND = 7;
const SHAPES = ['circle', 'square', 'triangle'];
const places = new Map();

/**
 * Give captions their colours, the most important first; those that have one keep it.
 * @param {string[]} captions
 */
export function meet(captions) {
  for (const caption of captions) placeOf(caption);
}

/**
 * A colour of a caption.
 * @param {string} caption
 * @param {number} [alpha]
 */
export function colourOf(caption, alpha = 1) {
  if (!caption) return `hsl(222 6% 55% / ${alpha})`;
  const [hue, strength, light] = COLOURS[placeOf(caption)];
  return `hsl(${hue} ${strength}% ${light}% / ${alpha})`;
}

/**
 * A shape of a caption: like colours have unlike shapes.
 * @param {string} caption
 * @returns {'circle' | 'square' | 'triangle'}
 */
export function shapeOf(caption) {
  return SHAPES[caption ? Math.floor(placeOf(caption) / ROUND) : 0];
}

function placeOf(caption) {
  if (!places.has(caption)) places.set(caption, places.size % COLOURS.length);
  return places.get(caption);
}
