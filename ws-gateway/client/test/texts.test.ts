import { expect, test } from "vitest";
import type { Notification, Notifications } from "../src/index.ts";
import { OTHER_SAMPLE, SAMPLES } from "../src/mock.ts";
import { text, type Language } from "../src/texts.ts";

const withData = <E extends keyof Notifications>(
  event: E,
  data: Partial<Notifications[E]["data"]>,
) => ({ ...SAMPLES[event], data: { ...SAMPLES[event].data, ...data } }) as Notification;

test.each(["en", "sv"] as const)(
  "each event has a text in %s without missing values",
  (language) => {
    const texts = Object.values(SAMPLES).map((sample) => text(sample, language));
    expect(new Set(texts).size).toBe(texts.length);
    for (const one of texts) {
      expect(one).toMatch(/^[\p{Lu}\d]/u);
      expect(one).not.toMatch(/null|undefined|NaN|  |\s$/);
    }
  },
);

test.each(["en", "sv"] as const)(
  "each event has a text in %s if its fields are null",
  (language) => {
    for (const sample of Object.values(SAMPLES)) {
      const entries = Object.entries(sample.data).map(([name, value]) => [name, value && null]);
      const empty = { ...sample, data: Object.fromEntries(entries) } as unknown as Notification;
      expect(text(empty, language)).not.toMatch(/null|undefined|NaN|  |\s$/);
    }
  },
);

test("a notification of a service that has the name of an event has a text", () => {
  for (const sample of Object.values(SAMPLES)) {
    const other = { ...OTHER_SAMPLE, event: sample.event, data: {} } as unknown as Notification;
    for (const language of ["en", "sv"] as const) {
      expect(text(other, language)).not.toMatch(/null|undefined|NaN|  |\s$/);
    }
  }
});

test.each<[Language, number, string]>([
  ["en", 1, "The batch is ready, with 1 essay"],
  ["en", 2, "The batch is ready, with 2 essays"],
  ["sv", 1, "Omgången är klar, med 1 uppsats"],
  ["sv", 2, "Omgången är klar, med 2 uppsatser"],
])("texts in %s are plural-aware: %i", (language, essay_count, expected) => {
  expect(text(withData("batch_essays_ready", { essay_count }), language)).toBe(expected);
});

test("a list that was cut to the size limit counts in full", () => {
  const data = { suggested_matches: [], suggested_matches_count: 500, truncated: true };
  const notification = withData("student_matches_suggested", data);
  expect(text(notification, "en")).toBe("Please check 500 suggested matches");
  expect(text(notification, "sv")).toBe("Kontrollera 500 föreslagna kopplingar");
});

test("a notification of a service keeps the text of the service", () => {
  expect(text(OTHER_SAMPLE, "sv")).toBe(OTHER_SAMPLE.data["message"]);
  const without = { ...OTHER_SAMPLE, event: "toString", data: {} };
  expect(text(without as Notification, "en")).toBe("toString");
});
