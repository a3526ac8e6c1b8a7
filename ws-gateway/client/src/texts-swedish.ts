import type { Texts } from "./texts.ts";

const plurals = new Intl.PluralRules("sv");

/** Returns a number with its noun; without a number, the noun in the plural. */
const count = (number: number | null, one: string, other: string) =>
  number == null ? other : `${number} ${plurals.select(number) === "one" ? one : other}`;

const essays = (number: number | null) => count(number, "uppsats", "uppsatser");
const suggestions = (number: number | null) =>
  count(number, "föreslagen koppling", "föreslagna kopplingar");
const file = (name: string | null) => (name == null ? "En fil" : `Filen ${name}`);

const PHASES: Record<string, string> = {
  spellcheck: "Stavningskontrollen",
  cj_assessment: "Bedömningen",
};

export const SWEDISH: Texts = {
  batch_file_added: ({ filename }) => `${file(filename)} har lagts till`,
  batch_file_removed: ({ filename }) => `${file(filename)} har tagits bort`,
  batch_essays_ready: ({ essay_count }) => `Omgången är klar, med ${essays(essay_count)}`,
  batch_validation_errors: ({ error_count }) =>
    `${count(error_count, "fel", "fel")} behöver åtgärdas`,
  batch_content_provisioning_completed: ({ provisioned_count: ready, expected_count: all }) =>
    ready == null || all == null
      ? "Uppsatsernas innehåll är klart"
      : `Innehållet i ${ready} av ${essays(all)} är klart`,
  student_matches_suggested: ({ suggested_matches: list, suggested_matches_count: all }) =>
    `Kontrollera ${suggestions(all ?? list?.length ?? null)}`,
  student_associations_confirmed: ({ confirmed_count }) =>
    count(confirmed_count, "koppling har bekräftats", "kopplingar har bekräftats"),
  validation_timeout_processed: ({ auto_confirmed_count: number }) =>
    `Tiden är ute: ${count(number, "koppling", "kopplingar")} bekräftades automatiskt`,
  cj_assessment_completed: () => "Bedömningen är klar",
  cj_assessment_failed: () => "Bedömningen misslyckades och behöver granskas manuellt",
  spellcheck_completed: ({ corrections_count }) =>
    `Stavningskontrollen är klar, med ${count(corrections_count, "rättning", "rättningar")}`,
  batch_phase_outcome: ({ phase, status }) =>
    `${PHASES[phase ?? ""] ?? `Steget ${phase ?? ""}`.trim()} är avslutat${
      status?.includes("fail") ? " med fel" : ""
    }`,
  essay_content_provisioned: ({ filename }) => `${file(filename)} är klar`,
  essay_validation_failed: ({ filename, error_message }) =>
    `${file(filename)} kunde inte användas${error_message == null ? "" : `: ${error_message}`}`,
  class_created: ({ class_designation: name }) =>
    name == null ? "En klass har skapats" : `Klassen ${name} har skapats`,
  student_created: ({ student_name: name }) =>
    name == null ? "En elev har lagts till" : `Eleven ${name} har lagts till`,
  essay_student_association_updated: () => "En uppsats har kopplats till en elev",
};
