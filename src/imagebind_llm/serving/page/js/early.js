// Runs before the first paint, so that a dark page does not flash white.
(() => {
  let wanted = 'auto';
  try {
    wanted = JSON.parse(localStorage.getItem('imagebind-llm.settings') || '{}').theme || 'auto';
  } catch {
    // storage may be off or broken; the system's theme will do
  }
  const dark = wanted === 'dark' || (wanted === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
