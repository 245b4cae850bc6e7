// One chat: its turns, and asking for the next one.

import { ApiError, chat as stream } from './api.js';
import { newId } from './dom.js';
import { keepError } from './errors.js';
import { keepPart, perform } from './making.js';
import { forgetUploads, itemAt, partOf } from './media/item.js';
import { requestOptions, settings } from './settings.js';
import { saveChat } from './store.js';

/**
 * @typedef {{text: string, imagebind: any, confidence?: number | null, seconds: number | null, tokens: number | null, error: any, stopped: boolean, made?: import('./making.js').Made[], offered?: boolean}} Version
 * @typedef {{id: string, role: 'user', text: string, media: any[], act?: import('./making.js').Act | null}} Question
 * @typedef {{id: string, role: 'assistant', versions: Version[], shown: number, alone?: boolean}} Answer
 */

/** The chat that is shown, and the answer that is being written. */
export class Chat {
  /** @param {{model: () => any, onTurns: () => void, onText: (answer: Answer) => void, onState: (running: boolean) => void, onKept: () => void}} hooks */
  constructor(hooks) {
    this.hooks = hooks;
    this.running = null;
    this.record = fresh();
  }

  /** Begin a new chat. */
  start() {
    this.open(fresh());
  }

  /** Show a chat. */
  open(record) {
    this.stop();
    this.record = record;
    this.hooks.onTurns();
  }

  /** Stop the answer that is being written. What has come stays. */
  stop() {
    if (!this.running) return;
    this.running.abort();
    this.running = null;
    this.hooks.onState(false);
  }

  /**
   * Ask.
   * @param {string} text
   * @param {any[]} media
   * @param {string | null} instead id of an earlier question that this one replaces, with all that came after it
   * @param {import('./making.js').Act | null} act where a button was pressed instead of asking in words
   */
  async ask(text, media, instead = null, act = null) {
    const { messages } = this.record;
    if (instead) {
      const at = messages.findIndex((one) => one.id === instead);
      if (at >= 0) messages.length = at;
    }
    messages.push({ id: newId(), role: 'user', text, media, act });
    messages.push({ id: newId(), role: 'assistant', versions: [], shown: 0 });
    this.record.title ||= text.slice(0, 80);
    await this.#write();
  }

  /**
   * Ask again for an answer; later turns go.
   * @param {string} id of the answer
   * @param {{alone?: boolean}} [how] alone: without the turns before
   */
  async again(id, how = {}) {
    const { messages } = this.record;
    const at = messages.findIndex((one) => one.id === id);
    if (at < 0) return;
    messages.length = at + 1;
    const answer = messages[at];
    answer.versions = answer.versions.filter((version) => !version.error);
    if (how.alone) answer.alone = true;
    await this.#write();
  }

  async #write() {
    this.stop();
    const control = new AbortController();
    const { record } = this;
    this.running = control;
    const answer = record.messages[record.messages.length - 1];
    const version = { text: '', imagebind: null, confidence: null, seconds: null, tokens: null, error: null, stopped: false };
    answer.versions.push(version);
    answer.shown = answer.versions.length - 1;
    record.updated = Date.now();
    this.hooks.onTurns();
    this.hooks.onState(true);
    saveChat(record).then(() => this.hooks.onKept());
    const began = performance.now();
    try {
      await this.#read(record, answer, version, control.signal);
    } catch (error) {
      if (error.name === 'AbortError') version.stopped = true;
      else version.error = keepError(error);
    }
    version.seconds = (performance.now() - began) / 1000;
    await saveChat(record);
    if (this.running === control) {
      this.running = null;
      this.hooks.onState(false);
    }
    if (this.record === record) this.hooks.onTurns();
  }

  async #read(record, answer, version, signal) {
    const question = record.messages[record.messages.indexOf(answer) - 1];
    for (let attempt = 0; ; attempt++) {
      let sent = [];
      try {
        if (question?.act) {
          Object.assign(version, await perform(question.act, question.media, answer.versions.length - 1, signal));
          return;
        }
        const { messages, from } = await bodyOf(record, answer, signal);
        sent = from;
        const body = { model: this.hooks.model()?.id ?? 'default', messages, ...requestOptions(this.hooks.model()) };
        version.offered = Boolean(body.server_tools);
        for await (const chunk of stream(body, signal)) {
          if (chunk.imagebind) version.imagebind = chunk.imagebind;
          if (chunk.usage) version.tokens = chunk.usage.completion_tokens ?? null;
          version.confidence = chunk.choices?.[0]?.confidence ?? version.confidence;
          version.text += chunk.choices?.[0]?.delta?.content ?? '';
          const parts = chunk.choices?.[0]?.delta?.parts;
          if (parts) version.made = (await Promise.all(parts.map(keepPart))).filter(Boolean);
          if (this.record === record) this.hooks.onText(answer);
        }
        return;
      } catch (error) {
        error.item ??= itemAt(error, sent.map((message) => message?.media));
        const stale = error instanceof ApiError && /file/.test(error.message) && [400, 404].includes(error.status);
        if (attempt || !stale || !forgetUploads()) throw error; // uploads expire: once more with fresh ones
      }
    }
  }
}

function fresh() {
  return { id: newId(), title: '', created: Date.now(), updated: Date.now(), messages: [] };
}

// The messages to send, and from which of the chat's own each is: what is refused is named by its place among them.
async function bodyOf(record, answer, signal) {
  const end = record.messages.indexOf(answer);
  const first = answer.alone ? end - 1 : 0;
  const messages = settings.system ? [{ role: 'system', content: settings.system }] : [];
  const from = messages.map(() => null);
  for (const message of record.messages.slice(first, end)) {
    if (message.role === 'user') {
      const parts = await Promise.all(message.media.map((item) => partOf(item, signal)));
      messages.push({ role: 'user', content: parts.length ? [...parts, { type: 'text', text: message.text }] : message.text });
      from.push(message);
    } else {
      const version = message.versions[message.shown];
      if (version?.text) {
        messages.push({ role: 'assistant', content: version.text });
        from.push(null);
      } else { // a question that got no answer
        messages.pop();
        from.pop();
      }
    }
  }
  return { messages, from };
}
