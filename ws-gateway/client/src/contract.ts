// Written by `make contract` from the types of `shared` and `ws-gateway`; not by hand.

/** The notification `batch_content_provisioning_completed`. */
export interface BatchContentProvisioningCompleted {
  category: "batch_progress";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: BatchContentProvisioningCompletedData;
  event: "batch_content_provisioning_completed";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface BatchContentProvisioningCompletedData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  expected_count: number | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  provisioned_count: number | null;
  status: string | null;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `batch_essays_ready`. */
export interface BatchEssaysReady {
  category: "batch_progress";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: BatchEssaysReadyData;
  event: "batch_essays_ready";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface BatchEssaysReadyData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  essay_count: number | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  status: string;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `batch_file_added`. */
export interface BatchFileAdded {
  category: "file_operations";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: BatchFileAddedData;
  event: "batch_file_added";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface BatchFileAddedData extends BatchFileData {
  /** What it is about. */
  category: Category;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** What a browser receives of both. */
export interface BatchFileData {
  batch_id: string | null;
  file_upload_id: string | null;
  filename: string | null;
}

/** The notification `batch_file_removed`. */
export interface BatchFileRemoved {
  category: "file_operations";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: BatchFileRemovedData;
  event: "batch_file_removed";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface BatchFileRemovedData extends BatchFileData {
  /** What it is about. */
  category: Category;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `batch_phase_outcome`. */
export interface BatchPhaseOutcome {
  category: "batch_progress";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: BatchPhaseOutcomeData;
  event: "batch_phase_outcome";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface BatchPhaseOutcomeData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  message: string;
  outcome_status: string | null;
  phase: string | null;
  /** How urgent it is. */
  priority: Priority;
  status: string | null;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `batch_validation_errors`. */
export interface BatchValidationErrors {
  category: "system_alerts";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: BatchValidationErrorsData;
  event: "batch_validation_errors";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "immediate";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface BatchValidationErrorsData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  error_count: number | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
  validation_errors: Array<ValidationError> | null;
}

/** What a notification is about; clients filter by it. */
export type Category = "batch_progress" | "processing_results" | "file_operations" | "class_management" | "student_workflow" | "system_alerts";

/** The notification `cj_assessment_completed`. */
export interface CjAssessmentCompleted {
  category: "processing_results";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: CjAssessmentCompletedData;
  event: "cj_assessment_completed";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface CjAssessmentCompletedData {
  assessment_id: string | null;
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  comparison_count: number | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  results_available: boolean;
  service: string;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `cj_assessment_failed`. */
export interface CjAssessmentFailed {
  category: "system_alerts";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: CjAssessmentFailedData;
  event: "cj_assessment_failed";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "immediate";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface CjAssessmentFailedData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  error_message: string | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `class_created`. */
export interface ClassCreated {
  category: "class_management";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: ClassCreatedData;
  event: "class_created";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface ClassCreatedData {
  /** What it is about. */
  category: Category;
  class_designation: string | null;
  class_id: string | null;
  course_codes: Array<string> | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** What a client may say. Anything else is ignored and counted. */
export type ClientMessage = {
  type: "ping";
} | {
  /** A token with the same subject. */
  token: string;
  type: "auth";
} | {
  /** The categories to receive; none: all. */
  categories: Array<string>;
  type: "filter";
};

/** The notification `essay_content_provisioned`. */
export interface EssayContentProvisioned {
  category: "file_operations";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: EssayContentProvisionedData;
  event: "essay_content_provisioned";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "low";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface EssayContentProvisionedData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  file_upload_id: string | null;
  filename: string | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `essay_student_association_updated`. */
export interface EssayStudentAssociationUpdated {
  category: "student_workflow";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: EssayStudentAssociationUpdatedData;
  event: "essay_student_association_updated";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface EssayStudentAssociationUpdatedData {
  association_method: string | null;
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  confidence_score: number | null;
  essay_id: string | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  student_id: string | null;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `essay_validation_failed`. */
export interface EssayValidationFailed {
  category: "system_alerts";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: EssayValidationFailedData;
  event: "essay_validation_failed";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "immediate";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface EssayValidationFailedData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  error_code: string | null;
  error_message: string | null;
  file_upload_id: string | null;
  filename: string | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** A notification that a service has worded itself. */
export interface OtherNotification {
  /** What it is about. */
  category: Category;
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  data: OtherNotificationData;
  event: string;
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface OtherNotificationData {
  /** What it is about. */
  category: Category;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
  [key: string]: unknown;
}

/** A place in a user's stream, that a client resumes from */
export type Position = string;

/** How long a notification may wait to share a write with others. */
export type Priority = "critical" | "immediate" | "high" | "standard" | "low";

/** Whether a client has, with the frames that follow, everything since its position. */
export type Resume = "none" | "complete" | "incomplete";

/** The notification `spellcheck_completed`. */
export interface SpellcheckCompleted {
  category: "processing_results";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: SpellcheckCompletedData;
  event: "spellcheck_completed";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface SpellcheckCompletedData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  corrections_count: number | null;
  essay_id: string | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  results_available: boolean;
  service: string;
  /** When the event happened. */
  timestamp: string;
}

/** What a frame of the connection says. */
export type State = {
  /** Names the connection in logs. */
  connection_id: string;
  /** The newest position. A client that resumed takes its position from the frames it gets instead: they are still on their way. */
  last_event_id: Position;
  /** How often the gateway pings, in seconds. */
  ping_interval_s: number;
  /** Whether the client missed anything. */
  resume: Resume;
  state: "authenticated";
  /** When the gateway will close the connection unless it gets a new token. */
  token_expires_at: string;
} | {
  /** Names the connection in logs. */
  connection_id: string;
  state: "connected";
  /** When the new token expires. */
  token_expires_at: string;
} | {
  /** Why. */
  reason: string;
  /** How long to wait before that. */
  reconnect_after_ms: number;
  state: "disconnected";
} | {
  /** For programs. */
  error_code: string;
  /** For people. */
  message: string;
  state: "error";
};

/** A frame of the connection. */
export interface StateFrame {
  /** What it says. */
  data: State;
  event: "connection_state";
  /** The gateway's time. */
  timestamp: string;
}

/** The notification `student_associations_confirmed`. */
export interface StudentAssociationsConfirmed {
  category: "student_workflow";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: StudentAssociationsConfirmedData;
  event: "student_associations_confirmed";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface StudentAssociationsConfirmedData {
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  confirmed_count: number | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `student_created`. */
export interface StudentCreated {
  category: "class_management";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: StudentCreatedData;
  event: "student_created";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "low";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface StudentCreatedData {
  /** What it is about. */
  category: Category;
  class_id: string | null;
  class_ids: Array<string> | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  student_id: string | null;
  student_name: string | null;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `student_matches_suggested`. */
export interface StudentMatchesSuggested {
  category: "student_workflow";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: StudentMatchesSuggestedData;
  event: "student_matches_suggested";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "immediate";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface StudentMatchesSuggestedData {
  action_required: boolean;
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  class_id: string | null;
  confirmation_deadline: string;
  confirmation_url: string | null;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  suggested_matches: Array<SuggestedMatch> | null;
  /** When the event happened. */
  timestamp: string;
}

/** The match suggested for one essay, as the design's producers send it and as a browser receives it. */
export interface SuggestedMatch {
  confidence_score: number | null;
  essay_id: string | null;
  suggested_student_id: string | null;
}

/** One error, as the design's producers send it and as a browser receives it. */
export interface ValidationError {
  error_code: string | null;
  essay_id: string | null;
  file_name?: string | null;
  message: string | null;
}

/** The notification `validation_timeout_processed`. */
export interface ValidationTimeoutProcessed {
  category: "student_workflow";
  /** What the event belongs to, in the words of its producer. */
  correlation_id: string | null;
  /** What the event says. */
  data: ValidationTimeoutProcessedData;
  event: "validation_timeout_processed";
  /** The event it was made from; the same event is told under the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** When the event happened. */
  timestamp: string;
  /** Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled. */
  trace?: string;
  /** Whom it is for. */
  user_id: string;
}

/** What the event says, and what every notification repeats here because frontends read it here. */
export interface ValidationTimeoutProcessedData {
  auto_confirmed_count: number | null;
  batch_id: string | null;
  /** What it is about. */
  category: Category;
  message: string;
  /** How urgent it is. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** Every notification that has a type of its own, by its `event`. */
export interface Notifications {
  batch_file_added: BatchFileAdded;
  batch_file_removed: BatchFileRemoved;
  batch_essays_ready: BatchEssaysReady;
  batch_validation_errors: BatchValidationErrors;
  batch_content_provisioning_completed: BatchContentProvisioningCompleted;
  student_matches_suggested: StudentMatchesSuggested;
  student_associations_confirmed: StudentAssociationsConfirmed;
  validation_timeout_processed: ValidationTimeoutProcessed;
  cj_assessment_completed: CjAssessmentCompleted;
  cj_assessment_failed: CjAssessmentFailed;
  spellcheck_completed: SpellcheckCompleted;
  batch_phase_outcome: BatchPhaseOutcome;
  essay_content_provisioned: EssayContentProvisioned;
  essay_validation_failed: EssayValidationFailed;
  class_created: ClassCreated;
  student_created: StudentCreated;
  essay_student_association_updated: EssayStudentAssociationUpdated;
}

/** Any notification. */
export type Notification = Notifications[keyof Notifications] | OtherNotification;

/** Every category. */
export const CATEGORIES: readonly Category[] = ["batch_progress","processing_results","file_operations","class_management","student_workflow","system_alerts"];

/** The `event` of frames about the connection itself. */
export const STATE_EVENT = "connection_state";

/** The subprotocol that the client speaks. */
export const SUBPROTOCOL = "huleedu.v1";

/** Starts the subprotocol with the token. */
export const TOKEN_PREFIX = "huleedu.token.";

/** Closes that would only come again. */
export const STOP_CODES: readonly number[] = [1002,1003,1007,1009,4000];

/** Closes that a new token puts right. */
export const TOKEN_CODES: readonly number[] = [1008];
