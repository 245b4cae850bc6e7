// Answers are Markdown; what could act or load something is taken out.

import { marked } from '../vendor/marked.js';
import purify from '../vendor/purify.js';

// HTML in an answer is shown as it was written, not made into elements.
const asText = ({ text }) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

marked.use({ gfm: true, breaks: true, renderer: { html: asText } });

/**
 * Markdown as elements.
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function markdown(text) {
  const made = purify.sanitize(marked.parse(text), {
    RETURN_DOM_FRAGMENT: true,
    FORBID_TAGS: ['img', 'style', 'form', 'input', 'button', 'video', 'audio', 'svg', 'math', 'picture', 'source'],
    FORBID_ATTR: ['style', 'class', 'id', 'name'],
    ALLOW_DATA_ATTR: false,
  });
  for (const link of made.querySelectorAll('a')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer nofollow';
  }
  return made;
}
