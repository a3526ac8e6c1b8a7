import type { Resume, State } from "./contract.ts";
import type { TransportName } from "./transport.ts";

/** What the user has read, as far as the gateway knew it when it connected. */
export type ReadSummary = Pick<
  Extract<State, { state: "authenticated" }>,
  "unread" | "read_up_to" | "exact" | "counted_to"
>;

/** The state of the connection to the gateway. */
export type Status =
  /** Not started. */
  | { readonly state: "idle" }
  /** A connection attempt is in progress. */
  | { readonly state: "connecting" }
  /**
   * Connected. `connectionId` names the connection in the gateway's logs; empty with polls. `read`
   * is what the user had read then.
   */
  | {
      readonly state: "open";
      readonly connectionId: string;
      readonly resume: Resume;
      readonly transport: TransportName | undefined;
      readonly read?: ReadSummary;
    }
  /**
   * Disconnected, as `message` explains and, after a close, `code`. The next attempt is at
   * `retryAt`, in milliseconds since 1970.
   */
  | {
      readonly state: "waiting";
      readonly retryAt: number;
      readonly offline: boolean;
      readonly code?: number | undefined;
      readonly message: string;
    }
  /** Closed: by the gateway with close code `code`, or by `close()`, without a code. */
  | { readonly state: "stopped"; readonly code?: number | undefined; readonly message: string };
