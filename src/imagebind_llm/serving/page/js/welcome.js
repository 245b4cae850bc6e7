// What is shown before the first question: a greeting, and examples that ask with one click.

import { request, json } from './api.js';
import { el } from './dom.js';
import { language, onLanguage } from './i18n.js';
import { fill } from './chips.js';
import { draw, fromFile, fromText } from './media/item.js';
import { takes } from './media/modalities.js';

/**
 * Draw the greeting and the examples.
 * @param {HTMLElement} host
 * @param {string} model its id
 * @param {(question: string, media: any[]) => void} ask
 */
export async function welcome(host, model, ask) {
  const cards = el('ul', { class: 'examples' });
  host.replaceChildren(...[
    el('img', { class: 'welcome-mark', src: new URL('../mark.svg', import.meta.url).href, alt: '', width: 60, height: 60 }),
    el('h2', { t: 'welcome' }),
    el('p', { class: 'welcome-lead', t: 'welcomeLead' }),
    model === 'nano' ? el('p', { class: 'welcome-knows', t: 'nanoKnows' }) : null,
    el('h3', { class: 'examples-title', t: 'tryOne', hidden: true }),
    cards,
  ].filter(Boolean));
  let examples;
  try {
    examples = (await json('examples.json')).filter((one) => one.media.every(({ modality }) => takes(modality)));
  } catch {
    return; // the page works without them
  }
  const made = examples.map((example) => card(example, ask));
  host.querySelector('.examples-title').hidden = !made.length;
  cards.replaceChildren(...made);
  onLanguage(() => made.forEach((one) => one.words?.()));
}

function card(example, ask) {
  const frames = example.media.map(() => el('span', { class: 'thumb' }));
  const [title, question] = [el('b'), el('span', { class: 'example-question' })];
  const words = () => {
    title.textContent = example.title[language()] ?? example.title.en;
    question.textContent = example.question[language()] ?? example.question.en;
  };
  words();
  const button = el('button', { class: 'example' },
    el('span', { class: 'example-media' }, ...frames), el('span', { class: 'example-words' }, title, question));
  const loaded = Promise.all(example.media.map(attach));
  const show = async (item, at) => {
    fill(frames[at], item);
    const { thumb } = example.media[at];
    item.thumb ??= thumb ? await picture(thumb).catch(() => null) : null;
    if (!item.thumb) await draw(item);
    fill(frames[at], item);
  };
  loaded.then((items) => Promise.all(items.map(show))).catch(() => button.parentElement?.remove());
  button.addEventListener('click', async () => ask(question.textContent, structuredClone(await loaded)));
  return Object.assign(el('li', {}, button), { words });
}

async function attach({ modality, url, text, weight }) {
  if (modality === 'text') return fromText(text, weight);
  const blob = await (await request(url)).blob();
  const item = await fromFile(new File([blob], url.slice(url.lastIndexOf('/') + 1), { type: blob.type }), modality, weight);
  return { ...item, example: true }; // a name that gives the answer away is not shown
}

async function picture(url) {
  const blob = await (await request(url)).blob();
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });
}
