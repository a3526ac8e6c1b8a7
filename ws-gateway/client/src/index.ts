export { Client, connect, is, type Options } from "./client.ts";
export { countdown, type Countdown } from "./countdown.ts";
export { Feed, type Snapshot } from "./feed.ts";
export type { Status } from "./status.ts";
export type { PositionStorage } from "./resume-state.ts";
export * from "./contract.ts";
