// A colour for every caption, the same in the gallery and on the map.

/**
 * A colour of a caption.
 * @param {string} caption
 * @param {number} [alpha]
 */
export function colourOf(caption, alpha = 1) {
  let hash = 2166136261;
  for (const letter of caption) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619) >>> 0;
  const hue = (hash % 36) * 10;
  const light = 52 + ((hash >>> 8) % 3) * 7;
  return `hsl(${hue} 62% ${light}% / ${alpha})`;
}
