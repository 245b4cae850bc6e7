// The media attached to the next question.

import { el } from './dom.js';
import { icon } from './icons.js';
import { t } from './i18n.js';
import { preview } from './dialogs/preview.js';
import { askWords } from './dialogs/dialog.js';
import { draw } from './media/item.js';
import { iconOf } from './media/modalities.js';
import { medium } from './store.js';
import { weightSlider } from './weights.js';

/** The media of the question that is being written. */
export class Tray {
  /**
   * @param {HTMLElement} list
   * @param {() => void} onChange
   */
  constructor(list, onChange) {
    this.list = list;
    this.onChange = onChange;
    /** @type {import('./media/item.js').Item[]} */
    this.items = [];
  }

  /** @param {import('./media/item.js').Item} item */
  add(item) {
    this.items.push(item);
    const chip = this.#chip(item);
    this.list.append(chip);
    this.#changed();
    chip.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    if (item.modality !== 'text' && !item.thumb) this.#draw(item, chip);
  }

  /** Put these in the place of all. */
  set(items) {
    this.items = [];
    this.list.replaceChildren();
    for (const item of items) this.add(structuredClone(item));
    this.#changed();
  }

  #changed() {
    this.list.hidden = !this.items.length;
    this.onChange();
  }

  #remove(item, chip) {
    const at = this.items.indexOf(item);
    this.items.splice(at, 1);
    chip.remove();
    const next = this.list.children[Math.min(at, this.items.length - 1)];
    (next?.querySelector('.chip-remove') ?? document.getElementById('question')).focus();
    this.#changed();
  }

  async #draw(item, chip) {
    chip.classList.add('busy');
    await draw(item);
    chip.classList.remove('busy');
    fill(chip.querySelector('.thumb'), item);
  }

  #chip(item) {
    const thumb = el('button', { class: 'thumb', tLabel: item.modality === 'text' ? 'editWords' : 'show', tWith: { name: item.name } });
    fill(thumb, item);
    const chip = el(
      'li',
      { class: 'chip' },
      thumb,
      el('div', { class: 'chip-body' },
        el('div', { class: 'chip-top' }, this.#kind(item), el('button', {
          class: 'icon-button chip-remove', icon: 'close', tLabel: 'removeMedium', tWith: { name: item.name },
          on: { click: () => this.#remove(item, chip) },
        })),
        weightSlider(item.weight, item.name, (value) => { item.weight = value; })),
    );
    thumb.addEventListener('click', async () => {
      if (item.modality !== 'text') return preview(item, await medium(item.id));
      const words = await askWords({ t: 'wordsAsMedium', note: 'wordsNote', value: item.text, yes: 'save', long: true });
      if (!words) return;
      item.text = item.name = words;
      fill(thumb, item);
    });
    return chip;
  }

  #kind(item) {
    if (item.kinds.length < 2) return el('b', { class: 'chip-kind', ...kindWords(item.modality), title: item.name });
    const select = el('select', { class: 'chip-kind', tLabel: 'whatIsIt', tWith: { name: item.name } },
      ...item.kinds.map((kind) => el('option', { value: kind, ...kindWords(kind), selected: kind === item.modality })));
    select.addEventListener('change', () => {
      item.modality = select.value;
      item.thumb = null;
      this.#draw(item, select.closest('.chip'));
      this.onChange();
    });
    return select;
  }
}

/**
 * Properties for the words of a kind of media.
 * @param {string} modality
 */
export function kindWords(modality) {
  return t(`kind.${modality}`) === `kind.${modality}` ? { t: 'kind.sensor', tWith: { name: modality } } : { t: `kind.${modality}` };
}

/**
 * Put the picture of an item into an element: its thumbnail, its words or its icon.
 * @param {HTMLElement} frame
 * @param {{modality: string, thumb: string | null, text?: string}} item
 */
export function fill(frame, item) {
  frame.classList.toggle('drawn', Boolean(item.thumb));
  frame.dataset.kind = item.modality;
  if (item.thumb) frame.replaceChildren(el('img', { src: item.thumb, alt: '' }), badge(item.modality));
  else if (item.modality === 'text') frame.replaceChildren(el('span', { class: 'thumb-text', text: item.text }));
  else frame.replaceChildren(icon(iconOf(item.modality)));
}

function badge(modality) {
  return ['video', 'point'].includes(modality) ? el('span', { class: 'thumb-badge' }, icon(iconOf(modality))) : '';
}
