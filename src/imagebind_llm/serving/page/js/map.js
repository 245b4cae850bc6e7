// The map: every picture of the cache as a dot, near ones alike, and the place of what was asked about.

import { json } from './api.js';
import { el } from './dom.js';
import { t } from './i18n.js';
import { openDialog } from './dialogs/dialog.js';
import { partOf } from './media/item.js';
import { Chart } from './chart.js';
import { keepError, plain } from './errors.js';
import { captionNote } from './gallery.js';
import { colourOf, meet, shapeOf } from './palette.js';
import { pictureUrl } from './pictures.js';
import { cacheOptions } from './settings.js';

const LEGEND = 120;
let dots = null;
let pictured = false;

/**
 * Open the map.
 * @param {any[]} media what was asked about; may be empty
 */
export async function openMap(media) {
  const canvas = el('canvas', { class: 'map-canvas', tabIndex: 0, tLabel: 'mapLabel', role: 'img' });
  const tip = el('div', { class: 'map-tip', hidden: true });
  const note = el('p', { class: 'map-note', role: 'status', t: 'mapWaits' });
  const legend = el('ul', { class: 'map-legend', tLabel: 'mapLegend', tabIndex: 0 });
  const lead = el('p', { class: 'map-lead', t: 'mapLead' });
  const zoom = (icon, key, factor) => el('button', { class: 'icon-button small', text: icon, tLabel: key, on: { click: () => chart?.zoom(factor) } });
  const stage = el('div', { class: 'map-stage' }, canvas, tip,
    el('div', { class: 'map-zoom' }, zoom('+', 'zoomIn', 1.4), zoom('−', 'zoomOut', 1 / 1.4), zoom('⤢', 'zoomAll', 0)));
  let chart = null;
  const dialog = openDialog({
    t: 'map', class: 'map', onClose: () => chart?.end(),
    body: [lead, stage, legend, note],
  });
  try {
    dots ??= await json('v1/cache/map?most=2000');
    const place = media.length ? await whereIs(media) : null;
    pictured = dots.pictures ?? place?.retrieved?.some((one) => one.picture) ?? pictured;
    if (!dialog.element.open) return;
    lead.append(' ', captionNote(Object.values(dots.captions).slice(0, 50)));
    drawLegend(legend, place, (caption) => chart?.pick(caption));
    chart = new Chart(canvas, dots, place, (found) => hover(tip, found));
    note.replaceChildren(place
      ? el('span', { t: 'mapPlace', tWith: { near: nearest(place)[0] ?? '…' } })
      : el('span', { t: media.length ? 'mapAlone' : 'mapEmpty' }));
  } catch (error) {
    note.classList.add('bad');
    note.textContent = error.message ? plain(error.message, keepError(error).item?.name) : t('error.away');
  }
}

async function whereIs(media) {
  const input = await Promise.all(media.map((item) => partOf(item)));
  const cache = cacheOptions();
  try {
    return await json('v1/cache/map', cache ? { input, cache } : { input });
  } catch (error) {
    const found = /input\[(\d+)\]/.exec(`${error.param} ${error.message}`);
    error.item ??= found && (media[Number(found[1])] ?? null);
    throw error;
  }
}

// Captions by their share of what was found, the largest first.
function nearest(place) {
  const counts = new Map();
  for (const { caption, share } of place?.retrieved ?? []) counts.set(caption, (counts.get(caption) ?? 0) + share);
  return [...counts].sort(([, a], [, b]) => b - a).map(([caption]) => caption).filter(Boolean);
}

// All captions: the nearest first, then by name; where every dot has one of its own, those of several.
function drawLegend(legend, place, onPick) {
  const counts = new Map();
  for (const [, , index] of dots.points) {
    const caption = dots.captions[index] ?? '';
    counts.set(caption, (counts.get(caption) ?? 0) + 1);
  }
  const near = nearest(place);
  const few = counts.size <= LEGEND;
  const others = [...counts].filter(([caption, count]) => caption && (few || count > 1)).sort(([, a], [, b]) => b - a).slice(0, LEGEND).map(([caption]) => caption);
  const rows = [...new Set([...near, ...others.sort((a, b) => a.localeCompare(b))])];
  meet(rows);
  const mark = (kind, key) => el('li', {}, el('i', { class: kind }), el('span', { t: key }));
  legend.replaceChildren(
    ...(place ? [mark('mark-before', 'placeBefore'), mark('mark-after', 'placeAfter')] : []),
    ...rows.map((caption) => {
      const button = el('button', { aria: { pressed: 'false' } }, el('i', { class: shapeOf(caption), style: { background: colourOf(caption) } }), el('span', { text: caption }));
      button.addEventListener('click', () => {
        const on = button.getAttribute('aria-pressed') !== 'true';
        legend.querySelectorAll('button').forEach((one) => one.setAttribute('aria-pressed', 'false'));
        button.setAttribute('aria-pressed', String(on));
        onPick(on ? caption : null);
      });
      return el('li', {}, button);
    }));
}

let shown = 0;

async function hover(tip, found) {
  const mine = ++shown;
  tip.hidden = !found;
  if (!found) return;
  const words = found.caption || t(found.key ?? 'noCaption');
  tip.replaceChildren(el('span', { text: words }));
  tip.style.setProperty('translate', `min(${found.x + 14}px, calc(var(--wide) - 105%)) ${found.y + 14}px`);
  tip.style.setProperty('--wide', `${tip.parentElement.clientWidth}px`);
  if (!pictured || found.index === undefined) return;
  const url = await pictureUrl(`v1/cache/pictures/${found.index}`);
  if (url && mine === shown) tip.prepend(el('img', { src: url, alt: '' }));
}
