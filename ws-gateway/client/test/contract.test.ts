import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import specs from "@asyncapi/specs";
import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { build } from "esbuild";
import { expect, test } from "vitest";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const read = (path: string) => JSON.parse(readFileSync(here(path), "utf8"));

/** Notifications of this type take name and text from the requesting service. */
const REQUESTED_TYPE = "huleedu.notification.teacher.requested.v1";

interface Case {
  name: string;
  envelope: { event_type: string };
  notification?: Record<string, unknown>;
}

const fixtures: [string, Case][] = readdirSync(here("../../../shared/fixtures"))
  .flatMap((file) =>
    (read(`../../../shared/fixtures/${file}`).cases ?? []).map((c: Case) => [file, c]),
  )
  .filter(([, { notification }]) => notification);

const ajv = new Ajv2020({ strict: false, allErrors: true, formats: { uint: true, uint64: true } });
formats.default(ajv);
const isNotification = ajv.compile(read("../contract/notifications.schema.json"));
const schemas = read("../contract/notifications.schema.json");

/** The events that have a schema of their own. */
const described: string[] = schemas.oneOf
  .map(
    ({ $ref }: { $ref: string }) =>
      schemas.$defs[$ref.split("/").at(-1) ?? ""].properties.event.const,
  )
  .filter((event: unknown) => event !== undefined);

test("every notification has fixtures", () => {
  const own = fixtures.filter(([, { envelope }]) => envelope.event_type !== REQUESTED_TYPE);
  const named = own.map(([, { notification }]) => notification?.["event"]);
  expect(new Set(named)).toEqual(new Set(described));
  expect(described).not.toEqual([]);
});

test.each(fixtures)("%s validates: $name", (_, { envelope, notification }) => {
  expect(isNotification(notification), ajv.errorsText(isNotification.errors)).toBe(true);
  expect(isNotification({ id: "1-0", ...notification })).toBe(true);
  if (envelope.event_type !== REQUESTED_TYPE) expect(described).toContain(notification?.["event"]);
});

test("an invalid notification does not validate", () => {
  const [, { notification }] = fixtures[0] as [string, Case];
  for (const wrong of [
    { event: 1 },
    { category: "unknown" },
    { timestamp: "soon" },
    { data: {} },
  ]) {
    expect(isNotification({ ...notification, ...wrong })).toBe(false);
  }
});

test("the AsyncAPI document is valid, and every reference in it resolves", () => {
  const document = read("../contract/asyncapi.json");
  const isAsyncApi = new Ajv({
    meta: false,
    validateSchema: false,
    strict: false,
    validateFormats: false,
  });
  const { $schema: _, ...specification } = specs.schemas["3.0.0"] as Record<string, unknown>;
  expect(isAsyncApi.validate(specification, document), isAsyncApi.errorsText()).toBe(true);
  expectReferences(document);
});

test("every reference in the OpenAPI document resolves", () => {
  expectReferences(read("../contract/openapi.json"));
});

function expectReferences(document: any): void {
  const references = JSON.stringify(document).matchAll(/"\$ref":"([^"#]*)#([^"]*)"/g);
  for (const [, file, path] of references) {
    const target = (path ?? "")
      .split("/")
      .slice(1)
      .reduce((value, key) => value?.[key], file ? schemas : document);
    expect(target, `${file}#${path}`).toBeDefined();
  }
}

test.each([
  ["connect", 4],
  ["connect, ladder, load", 6],
  ["connect, ladder, load, ReadMarks", 7],
])("an app that imports { %s } bundles less than %i KiB of the client", async (names, kib) => {
  const contents = `export { ${names} } from "./index.ts";`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: here("../src"), loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  const size = gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
  console.log(`${names}: ${size} bytes gzipped`);
  expect(size).toBeLessThan(kib * 1024);
});
