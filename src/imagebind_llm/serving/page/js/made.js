// What tools made, inside an answer: pictures, players, shapes, each to be saved; and the calls that made it.

import { preview } from './dialogs/preview.js';
import { el } from './dom.js';
import { icon } from './icons.js';
import { iconOf } from './media/modalities.js';
import { medium } from './store.js';

const urls = new Map();

/**
 * The files of an answer.
 * @param {import('./making.js').Made[]} made
 * @param {() => void} grown is called when a picture has taken its place
 * @returns {HTMLElement}
 */
export function madeList(made, grown) {
  return el('ul', { class: 'made' }, ...made.map((item) => one(item, grown)));
}

/**
 * The calls of an answer, closed at first.
 * @param {any[]} calls
 * @returns {HTMLElement}
 */
export function callList(calls) {
  const lines = calls.map((call) => el('li', { class: call.error ? 'bad' : '' },
    ...(call.perceived ?? []).map(({ question, answer }) => el('span', { class: 'call-seen', text: `${question} ${answer}` })),
    el('code', { text: `${call.name}(${given(call.arguments)})` }),
    el('span', { class: 'call-came', text: ` → ${call.error ?? call.result}` }),
    el('span', { class: 'aside number', text: ` ${call.seconds.toFixed(1)} s` })));
  return el('details', { class: 'calls' }, el('summary', { t: 'toolsUsed', tWith: { names: calls.map(({ name }) => name).join(', ') } }), el('ul', {}, ...lines));
}

function given(values) {
  return Object.entries(values).map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(', ');
}

function one(item, grown) {
  const stage = el('div', { class: `made-stage ${item.modality}` });
  const save = el('a', { class: 'text-button made-save', icon: 'save', t: 'saveFile', download: item.name });
  fill(stage, save, item, grown);
  return el('li', {}, stage, save);
}

async function fill(stage, save, item, grown) {
  const blob = await medium(item.id);
  if (!blob) {
    save.remove();
    stage.append(el('p', { class: 'quiet', t: 'mediumGone' }));
    return;
  }
  if (!urls.has(item.id)) urls.set(item.id, URL.createObjectURL(blob));
  const url = urls.get(item.id);
  save.href = url;
  if (item.modality === 'audio') {
    stage.append(el('audio', { controls: true, src: url }));
    return;
  }
  const look = el('button', { class: 'made-look', tLabel: 'show', tWith: { name: item.name }, on: { click: () => preview(item, blob) } });
  if (item.modality === 'image') {
    const shown = el('img', { alt: item.name, src: url });
    shown.addEventListener('load', () => {
      look.classList.toggle('tiny', shown.naturalWidth < 128);
      grown();
    });
    look.append(shown);
  } else {
    look.append(icon(iconOf(item.modality)));
  }
  stage.append(look);
}
