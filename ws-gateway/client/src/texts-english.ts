import type { Texts } from "./texts.ts";

const plurals = new Intl.PluralRules("en");

/** Returns a number with its noun; without a number, the noun in the plural. */
const count = (number: number | null, one: string, other: string) =>
  number == null ? other : `${number} ${plurals.select(number) === "one" ? one : other}`;

const essays = (number: number | null) => count(number, "essay", "essays");
const suggestions = (number: number | null) =>
  count(number, "suggested match", "suggested matches");
const confirmations = (number: number | null) =>
  count(number, "match was confirmed", "matches were confirmed");
const file = (name: string | null) => (name == null ? "A file" : `The file ${name}`);

const PHASES: Record<string, string> = {
  spellcheck: "The spell check",
  cj_assessment: "The assessment",
};

export const ENGLISH: Texts = {
  batch_file_added: ({ filename }) => `${file(filename)} was added`,
  batch_file_removed: ({ filename }) => `${file(filename)} was removed`,
  batch_essays_ready: ({ essay_count }) => `The batch is ready, with ${essays(essay_count)}`,
  batch_validation_errors: ({ error_count }) =>
    `${count(error_count, "error needs", "errors need")} your attention`,
  batch_content_provisioning_completed: ({ provisioned_count: ready, expected_count: all }) =>
    ready == null || all == null
      ? "The content of the essays is ready"
      : `The content of ${ready} of ${essays(all)} is ready`,
  student_matches_suggested: ({ suggested_matches: list, suggested_matches_count: all }) =>
    `Please check ${suggestions(all ?? list?.length ?? null)}`,
  student_associations_confirmed: ({ confirmed_count }) =>
    confirmations(confirmed_count),
  validation_timeout_processed: ({ auto_confirmed_count }) =>
    `Time is up: ${confirmations(auto_confirmed_count)} automatically`,
  cj_assessment_completed: () => "The assessment is complete",
  cj_assessment_failed: () => "The assessment failed and needs a manual review",
  spellcheck_completed: ({ corrections_count }) =>
    `The spell check is complete, with ${count(corrections_count, "correction", "corrections")}`,
  batch_phase_outcome: ({ phase, status }) =>
    `${PHASES[phase ?? ""] ?? `The phase ${phase ?? ""}`.trim()} has ended${
      status?.includes("fail") ? " with failures" : ""
    }`,
  essay_content_provisioned: ({ filename }) => `${file(filename)} is ready`,
  essay_validation_failed: ({ filename, error_message }) =>
    `${file(filename)} could not be used${error_message == null ? "" : `: ${error_message}`}`,
  class_created: ({ class_designation: name }) =>
    name == null ? "A class was created" : `The class ${name} was created`,
  student_created: ({ student_name: name }) =>
    name == null ? "A student was added" : `The student ${name} was added`,
  essay_student_association_updated: () => "An essay was matched with a student",
};
