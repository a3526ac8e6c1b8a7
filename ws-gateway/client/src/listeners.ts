// The listeners of a client, by topic.

export type Unsubscribe = () => void;

export class Listeners {
  readonly #topics = new Map<string, Set<(value: never) => void>>();

  add<V>(topic: string, listener: (value: V) => void): Unsubscribe {
    const listeners = this.#topics.get(topic) ?? new Set();
    this.#topics.set(topic, listeners);
    // Wrapped, so that one function can subscribe twice.
    const wrapped = (value: V) => listener(value);
    listeners.add(wrapped);
    return () => void listeners.delete(wrapped);
  }

  /** Calls every listener; one that throws does not affect the others. */
  emit(topic: string, value: unknown): void {
    for (const listener of this.#topics.get(topic) ?? []) {
      try {
        listener(value as never);
      } catch (error) {
        globalThis.reportError?.(error);
      }
    }
  }
}
