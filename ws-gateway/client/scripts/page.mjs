// Builds the demo page: `npm run page` writes tests/demo/built.js, `npm run page -- --check` fails
// if the committed file is out of date.

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const path = `${root}/tests/demo/built.js`;

const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: ["tests/demo/page.ts"],
  bundle: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  banner: { js: "// Generated from page.ts by `npm run page` in ws-gateway/client. Do not edit." },
  write: false,
});
const built = outputFiles[0].text;

if (!process.argv.includes("--check")) {
  await writeFile(path, built);
} else if ((await readFile(path, "utf8").catch(() => "")) !== built) {
  console.error("tests/demo/built.js is out of date: run `npm run page` in ws-gateway/client");
  process.exit(1);
}
