import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/*.test.ts"],
    unstubGlobals: true,
    restoreMocks: true,
    // Schemas are compiled in a second, and more slowly beside other builds.
    testTimeout: 60_000,
  },
});
