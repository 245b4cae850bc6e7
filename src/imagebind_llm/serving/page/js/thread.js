// The turns of the chat on the page.

import { el, lessMotion } from './dom.js';
import { kindWords, fill, nameLine } from './chips.js';
import { preview } from './dialogs/preview.js';
import { errorCard } from './errors.js';
import { gallery } from './gallery.js';
import { callList, madeList } from './made.js';
import { markdown } from './markdown.js';
import { medium } from './store.js';
import { toast } from './toast.js';
import { format } from './weights.js';

/** Draws turns, and follows the answer that is being written. */
export class Thread {
  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroller
   * @param {{edit: (message: any, refused: Set<string>) => void, fresh: () => void, again: (id: string, how?: object) => void, map: (message: any) => void, turn: (message: any, step: number) => void, hasMap: () => boolean}} acts
   */
  constructor(list, scroller, acts) {
    Object.assign(this, { list, scroller, acts });
    this.waiting = 0;
    this.views = new Map();
  }

  /**
   * Draw all turns anew.
   * @param {any} record
   * @param {boolean} running whether the last answer is being written
   */
  show(record, running) {
    const stay = this.atEnd();
    this.views.clear();
    this.refused = refusedOf(record);
    this.list.replaceChildren(...record.messages.map((message, at) => {
      const last = at === record.messages.length - 1;
      return message.role === 'user' ? this.#question(message) : this.#answer(record, message, running && last);
    }));
    if (stay || running) this.toEnd();
  }

  /**
   * Draw the text that has come so far, at most once a frame.
   * @param {any} answer
   */
  update(answer) {
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => {
      const view = this.views.get(answer.id);
      if (!view) return;
      const stay = this.atEnd();
      const version = answer.versions[answer.shown];
      if (version.text) view.text.replaceChildren(markdown(version.text));
      this.#similar(view, version);
      if (stay) this.toEnd(true);
    });
  }

  /** Whether the end is in sight. */
  atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < 90;
  }

  /** Go to the end. */
  toEnd(quick = false) {
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: quick || lessMotion() ? 'auto' : 'smooth' });
  }

  #question(message) {
    return el('article', { class: 'turn question' },
      el('h2', { class: 'visually-hidden', t: 'you' }),
      message.media.length ? el('ul', { class: 'given' }, ...message.media.map((item) => given(item, message.media, this.refused))) : null,
      el('div', { class: 'said' },
        el('div', { class: 'acts' },
          act('copy', 'copy', () => copy(message.text)),
          act('pencil', 'edit', () => this.acts.edit(message, this.refused))),
        el('div', { class: 'bubble', text: message.text })));
  }

  #answer(record, message, running) {
    const at = record.messages.indexOf(message);
    const question = record.messages[at - 1];
    const later = at > 1;
    const version = message.versions[message.shown] ?? { text: '' };
    const text = el('div', { class: 'prose' });
    const main = el('div', { class: 'answer-main' }, text);
    const body = el('div', { class: 'answer-body' }, main);
    const view = { text, body, gallery: null, before: seenBefore(record, message) };
    this.views.set(message.id, view);
    if (version.text) text.append(markdown(version.text));
    else if (running) text.append(el('span', { class: 'dots', role: 'img', tLabel: 'thinking' }, el('i'), el('i'), el('i')));
    else if (!version.error) text.append(el('p', { class: 'quiet', t: version.stopped ? 'stopped' : 'noWords' }));
    this.#similar(view, version);
    const error = version.error && errorCard(version.error, {
      retry: () => this.acts.again(message.id),
      edit: () => this.acts.edit(ownerOf(record, version.error.item) ?? question, this.refused),
      fresh: this.acts.fresh,
      shorten: later ? () => this.acts.again(message.id, { alone: true }) : null,
    });
    if (error && !version.text) text.remove();
    const calls = version.imagebind?.calls;
    const idle = version.offered && !calls && !running && !version.error;
    main.append(...[version.made?.length ? madeList(version.made, () => { if (message === record.messages.at(-1)) this.toEnd(true); }) : null, calls ? callList(calls) : null, idle ? el('p', { class: 'sureness', t: 'noTool' }) : null].filter(Boolean));
    main.append(...[error, running ? null : sureness(version), running ? null : this.#answerActs(message, question, version)].filter(Boolean));
    return el('article', { class: 'turn answer', aria: { busy: running } },
      el('h2', { class: 'visually-hidden', t: 'answer' }),
      message.alone ? el('p', { class: 'quiet alone', t: 'askedAlone' }) : null,
      body);
  }

  #similar(view, version) {
    const found = version.imagebind?.retrieved;
    if (!found?.length || view.gallery || view.before === JSON.stringify(found)) return;
    view.gallery = gallery(version.imagebind);
    view.body.append(view.gallery);
    view.body.classList.add('with-gallery');
  }

  #answerActs(message, question, version) {
    const many = message.versions.length > 1;
    return el('div', { class: 'acts' },
      version.text ? act('copy', 'copy', () => copy(version.text)) : null,
      version.error ? null : act('again', 'again', () => this.acts.again(message.id)),
      question?.media?.length && this.acts.hasMap() && !version.error ? act('map', 'showOnMap', () => this.acts.map(question)) : null,
      many ? act('back', 'earlierAnswer', () => this.acts.turn(message, -1), message.shown === 0) : null,
      many ? el('span', { class: 'number', text: `${message.shown + 1}/${message.versions.length}` }) : null,
      many ? act('forward', 'laterAnswer', () => this.acts.turn(message, 1), message.shown === message.versions.length - 1) : null,
      version.stopped && version.text ? el('span', { class: 'aside', t: 'stopped' }) : null,
      version.seconds && !version.error && !version.stopped ? el('span', { class: 'aside number tip', text: `${version.seconds.toFixed(1)} s`, tLabel: 'tookTip', tWith: { tokens: version.tokens ?? '?' } }) : null);
  }
}

function act(icon, key, click, disabled = false) {
  return el('button', { class: 'icon-button small', icon, tLabel: key, disabled, on: { click } });
}

// How sure the model was of its words, and how like the nearest picture it knows the media are.
function sureness(version) {
  const known = Number.isFinite(version.confidence) && version.text && !version.error;
  const nearest = version.imagebind?.nearest;
  if (!known) return null;
  const percent = Math.floor(100 * version.confidence + 0.5);
  return el('p', { class: 'sureness' },
    el('span', { class: 'tip', t: percent ? 'sure' : 'hardlySure', tLabel: 'sureTip', tWith: { percent } }),
    Number.isFinite(nearest) ? el('span', { class: 'tip', t: 'nearest', tLabel: 'nearestTip', tWith: { likeness: nearest.toFixed(2) } }) : null);
}

function given(item, media, refused) {
  const frame = el('button', { class: 'thumb large', tLabel: 'show', tWith: { name: item.name } });
  fill(frame, item);
  frame.addEventListener('click', async () => preview(item, item.modality === 'text' ? null : await medium(item.id)));
  const weighed = media.some((one) => one.weight !== item.weight) || item.weight < 0;
  return el('li', { class: refused.has(item.id) ? 'refused' : '' }, frame, nameLine(item, 'given-file'), el('span', { class: 'given-name' }, el('span', kindWords(item.modality)),
    weighed ? el('span', { class: 'number tip', text: `× ${format(item.weight)}`, tLabel: 'weightShown', tWith: { weight: format(item.weight) } }) : null));
}

// The media that answers failed on.
function refusedOf(record) {
  const errors = record.messages.map((message) => message.versions?.[message.shown]?.error?.item?.id);
  return new Set(errors.filter(Boolean));
}

function ownerOf(record, item) {
  return item && record.messages.find((message) => message.media?.some((one) => one.id === item.id));
}

// What the answer before was shown with; a turn that goes on about the same media need not repeat it.
function seenBefore(record, message) {
  const answer = record.messages[record.messages.indexOf(message) - 2];
  const found = answer?.versions?.[answer.shown]?.imagebind?.retrieved;
  return found ? JSON.stringify(found) : '';
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast('copied');
  } catch {
    toast('notCopied');
  }
}
