// The package as npm would publish it.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { afterAll, beforeAll, expect, test } from "vitest";

const folder = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
let target: string;
let tarball: Uint8Array<ArrayBuffer>;

beforeAll(() => {
  target = mkdtempSync(join(tmpdir(), "live-notifications-"));
  // A copy, as another test may pack the folder at the same time.
  const copy = join(target, "client");
  const isSource = (path: string) => !["node_modules", "dist"].includes(basename(path));
  cpSync(folder, copy, { recursive: true, filter: isSource });
  symlinkSync(join(folder, "node_modules"), join(copy, "node_modules"));
  execFileSync("npm", ["pack", "--silent", "--pack-destination", target], { cwd: copy });
  const name = manifest.name.replace("@", "").replace("/", "-");
  tarball = new Uint8Array(readFileSync(join(target, `${name}-${manifest.version}.tgz`)));
}, 120_000);

afterAll(() => rmSync(target, { recursive: true }));

test("publint finds nothing", async () => {
  const { messages } = await publint({ pack: { tarball: tarball.buffer }, strict: true });
  expect(messages).toEqual([]);
});

test("the licence is that of the repository", () => {
  const contents = createPackageFromTarballData(tarball);
  const repository = readFileSync(join(folder, "../../LICENSE"), "utf8");
  expect(contents.readFile(`/node_modules/${manifest.name}/LICENSE`)).toBe(repository);
});

test("each entry resolves to its types in every tool that loads ES modules", async () => {
  const result = await checkPackage(createPackageFromTarballData(tarball));
  if (!result.types) throw new Error("the package has no types");
  const entries = Object.entries(result.entrypoints).filter(([, { isWildcard }]) => !isWildcard);
  expect(entries.map(([name]) => name).sort()).toEqual([
    ".",
    "./mock",
    "./package.json",
    "./react",
    "./svelte",
    "./texts",
    "./vue",
  ]);
  for (const [name, { resolutions }] of entries) {
    for (const kind of ["node16-esm", "bundler"] as const) {
      const { resolution, visibleProblems } = resolutions[kind];
      expect(resolution, `${name} in ${kind}`).toBeDefined();
      expect(visibleProblems ?? [], `${name} in ${kind}`).toEqual([]);
    }
  }
  // The package has no CommonJS build, on purpose.
  const others = result.problems.filter(
    ({ kind }) => !["NoResolution", "CJSResolvesToESM"].includes(kind),
  );
  expect(others).toEqual([]);
});

test("the types of each entry come first, and no module has side effects", () => {
  expect(manifest.sideEffects).toBe(false);
  for (const [name, entry] of Object.entries(manifest.exports)) {
    if (typeof entry === "object") expect(Object.keys(entry ?? {})[0], name).toBe("types");
  }
});
