// The browser's events after which a connection may be dead.

/** Calls `wake` after the network or the page was suspended; does nothing outside a browser. */
export function listenToPage(signal: AbortSignal, wake: () => void, offline: () => void): void {
  if (typeof window === "undefined") return;
  const wakeIfVisible = () => document.hidden || wake();
  const options = { signal };
  for (const event of ["online", "pageshow"]) window.addEventListener(event, wake, options);
  document.addEventListener("visibilitychange", wakeIfVisible, options);
  window.addEventListener("offline", offline, options);
}
