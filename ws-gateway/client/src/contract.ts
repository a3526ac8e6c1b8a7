// Written by `make contract` from the types of `shared` and `ws-gateway`; not by hand.

/** The notification `batch_content_provisioning_completed`. */
export interface BatchContentProvisioningCompleted {
  category: "batch_progress";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: BatchContentProvisioningCompletedData;
  event: "batch_content_provisioning_completed";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface BatchContentProvisioningCompletedData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Number of essays expected in the batch. */
  expected_count: number | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** Number of essays whose content is stored. */
  provisioned_count: number | null;
  /** Status of the batch. */
  status: string | null;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `batch_essays_ready`. */
export interface BatchEssaysReady {
  category: "batch_progress";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: BatchEssaysReadyData;
  event: "batch_essays_ready";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface BatchEssaysReadyData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Number of essays in the batch. */
  essay_count: number | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** Status of the batch. */
  status: string;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `batch_file_added`. */
export interface BatchFileAdded {
  category: "file_operations";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: BatchFileAddedData;
  event: "batch_file_added";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface BatchFileAddedData extends BatchFileData {
  /** The category of the notification. */
  category: Category;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** Notification data for both events. */
export interface BatchFileData {
  /** The batch. */
  batch_id: string | null;
  /** Id of the upload. */
  file_upload_id: string | null;
  /** Name of the uploaded file. */
  filename: string | null;
}

/** The notification `batch_file_removed`. */
export interface BatchFileRemoved {
  category: "file_operations";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: BatchFileRemovedData;
  event: "batch_file_removed";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface BatchFileRemovedData extends BatchFileData {
  /** The category of the notification. */
  category: Category;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `batch_phase_outcome`. */
export interface BatchPhaseOutcome {
  category: "batch_progress";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: BatchPhaseOutcomeData;
  event: "batch_phase_outcome";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface BatchPhaseOutcomeData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Text for the user. */
  message: string;
  /** How the phase ended. */
  outcome_status: string | null;
  /** The phase that ended. */
  phase: string | null;
  /** The priority of the notification. */
  priority: Priority;
  /** Same as `outcome_status`, under the name that deployed frontends read. */
  status: string | null;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `batch_validation_errors`. */
export interface BatchValidationErrors {
  category: "system_alerts";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: BatchValidationErrorsData;
  event: "batch_validation_errors";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "immediate";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface BatchValidationErrorsData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Number of essays with an error. */
  error_count: number | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
  /** True if lists were cut to the size limit; absent otherwise. */
  truncated?: boolean;
  /** One entry per essay with an error. */
  validation_errors: Array<ValidationError> | null;
  /** The length of `validation_errors` before it was cut; absent if it was not. */
  validation_errors_count?: number;
}

/** The category of a notification; clients filter by it. */
export type Category = "batch_progress" | "processing_results" | "file_operations" | "class_management" | "student_workflow" | "system_alerts";

/** The notification `cj_assessment_completed`. */
export interface CjAssessmentCompleted {
  category: "processing_results";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: CjAssessmentCompletedData;
  event: "cj_assessment_completed";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface CjAssessmentCompletedData {
  /** The assessment. */
  assessment_id: string | null;
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Number of comparisons made. */
  comparison_count: number | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** Whether results can be loaded. */
  results_available: boolean;
  /** The service with the results. */
  service: string;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `cj_assessment_failed`. */
export interface CjAssessmentFailed {
  category: "system_alerts";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: CjAssessmentFailedData;
  event: "cj_assessment_failed";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "immediate";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface CjAssessmentFailedData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Description of the error for the user. */
  error_message: string | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `class_created`. */
export interface ClassCreated {
  category: "class_management";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: ClassCreatedData;
  event: "class_created";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface ClassCreatedData {
  /** The category of the notification. */
  category: Category;
  /** Name of the class. */
  class_designation: string | null;
  /** The class. */
  class_id: string | null;
  /** Codes of the courses of the class. */
  course_codes: Array<string> | null;
  /** The length of `course_codes` before it was cut; absent if it was not. */
  course_codes_count?: number;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
  /** True if lists were cut to the size limit; absent otherwise. */
  truncated?: boolean;
}

/** A message of a client. Any other text is ignored and counted. */
export type ClientMessage = {
  type: "ping";
} | {
  /** A token with the same subject. */
  token: string;
  type: "auth";
} | {
  /** The categories to receive; empty: all. */
  categories: Array<string>;
  type: "filter";
} | {
  type: "read";
  /** The position of the newest notification that was read; if it is missing, nothing is marked. A position that is marked already, or not reached yet, marks no more. */
  up_to?: string | null;
};

/** The notification `essay_content_provisioned`. */
export interface EssayContentProvisioned {
  category: "file_operations";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: EssayContentProvisionedData;
  event: "essay_content_provisioned";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "low";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface EssayContentProvisionedData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Id of the upload. */
  file_upload_id: string | null;
  /** Name of the uploaded file. */
  filename: string | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `essay_student_association_updated`. */
export interface EssayStudentAssociationUpdated {
  category: "student_workflow";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: EssayStudentAssociationUpdatedData;
  event: "essay_student_association_updated";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface EssayStudentAssociationUpdatedData {
  /** How the association was made. */
  association_method: string | null;
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Confidence in the match, as the producer sent it. */
  confidence_score: number | null;
  /** The essay. */
  essay_id: string | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** The student. */
  student_id: string | null;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `essay_validation_failed`. */
export interface EssayValidationFailed {
  category: "system_alerts";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: EssayValidationFailedData;
  event: "essay_validation_failed";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "immediate";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface EssayValidationFailedData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Code of the error. */
  error_code: string | null;
  /** Description of the error for the user. */
  error_message: string | null;
  /** Id of the upload. */
  file_upload_id: string | null;
  /** Name of the uploaded file. */
  filename: string | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** A notification that another service has formatted. */
export interface OtherNotification {
  /** The category of the notification. */
  category: Category;
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  data: OtherNotificationData;
  event: string;
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  /** The priority of the notification. */
  priority: Priority;
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface OtherNotificationData {
  /** The category of the notification. */
  category: Category;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
  [key: string]: unknown;
}

/** A position in a user's stream, that a client resumes from */
export type Position = string;

/** The priority of a notification: only `low` may be delayed to share a socket write. */
export type Priority = "critical" | "immediate" | "high" | "standard" | "low";

/** What a user has read. */
export interface ReadState {
  /** Whether that is the number of all; false if the history no longer reaches back to `up_to`. */
  exact: boolean;
  /** The newest notification that was counted: a client adds those after it. */
  last_event_id: Position;
  /** The number of notifications after `up_to` that the history holds. */
  unread: number;
  /** The position up to which the user has read; `0-0`: nothing. */
  up_to: Position;
}

/** A frame with a read state. It is sent to each connection of the user whenever the state is requested or changes. */
export interface ReadStateFrame {
  /** The read state. */
  data: ReadState;
  event: "read_state";
}

/** The result of a resume. */
export type Resume = "none" | "complete" | "incomplete";

/** The notification `spellcheck_completed`. */
export interface SpellcheckCompleted {
  category: "processing_results";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: SpellcheckCompletedData;
  event: "spellcheck_completed";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface SpellcheckCompletedData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Number of corrections. */
  corrections_count: number | null;
  /** The essay. */
  essay_id: string | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** Whether results can be loaded. */
  results_available: boolean;
  /** The service with the results. */
  service: string;
  /** When the event happened. */
  timestamp: string;
}

/** What a frame about the connection says. */
export type State = {
  /** The connection's id, as in the gateway's logs. */
  connection_id: string;
  /** The newest notification that was counted: a client adds those after it. */
  counted_to?: Position;
  /** Whether `unread` is the number of all; false if the history no longer reaches back to `read_up_to`. */
  exact?: boolean;
  /** The newest position. After a resume, a client uses the positions of the frames that follow instead. */
  last_event_id: Position;
  /** The interval between pings of the gateway, in seconds. */
  ping_interval_s: number;
  /** The position up to which the user has read; `0-0`: nothing. */
  read_up_to?: Position;
  /** Whether the client missed notifications. */
  resume: Resume;
  state: "authenticated";
  /** When the token expires. The connection is closed soon after, unless it gets a new one. */
  token_expires_at: string;
  /** The number of notifications after `read_up_to` that the history holds. */
  unread?: number;
} | {
  /** The connection's id, as in the gateway's logs. */
  connection_id: string;
  state: "connected";
  /** When the new token expires. */
  token_expires_at: string;
} | {
  /** The position to resume from. */
  last_event_id: Position;
  state: "position";
} | {
  /** Why. */
  reason: string;
  /** How long to wait before reconnecting: 500 to 2,000 when the gateway restarts. */
  reconnect_after_ms: number;
  state: "disconnected";
} | {
  /** The error as a constant. */
  error_code: string;
  /** The error as a sentence. */
  message: string;
  state: "error";
};

/** A frame about the connection. */
export interface StateFrame {
  /** What the frame says. */
  data: State;
  event: "connection_state";
  /** The gateway's clock. */
  timestamp: string;
}

/** The notification `student_associations_confirmed`. */
export interface StudentAssociationsConfirmed {
  category: "student_workflow";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: StudentAssociationsConfirmedData;
  event: "student_associations_confirmed";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface StudentAssociationsConfirmedData {
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Number of confirmed associations. */
  confirmed_count: number | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** When the event happened. */
  timestamp: string;
}

/** The notification `student_created`. */
export interface StudentCreated {
  category: "class_management";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: StudentCreatedData;
  event: "student_created";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "low";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface StudentCreatedData {
  /** The category of the notification. */
  category: Category;
  /** The class. */
  class_id: string | null;
  /** The classes of the student. */
  class_ids: Array<string> | null;
  /** The length of `class_ids` before it was cut; absent if it was not. */
  class_ids_count?: number;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** The student. */
  student_id: string | null;
  /** Full name of the student. */
  student_name: string | null;
  /** When the event happened. */
  timestamp: string;
  /** True if lists were cut to the size limit; absent otherwise. */
  truncated?: boolean;
}

/** The notification `student_matches_suggested`. */
export interface StudentMatchesSuggested {
  category: "student_workflow";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: StudentMatchesSuggestedData;
  event: "student_matches_suggested";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "immediate";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface StudentMatchesSuggestedData {
  /** Whether the user has to act. */
  action_required: boolean;
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** The class. */
  class_id: string | null;
  /** When unconfirmed matches are confirmed automatically. */
  confirmation_deadline: string;
  /** Path of the page where a teacher confirms the matches. */
  confirmation_url: string | null;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
  priority: Priority;
  /** The best suggestion for each essay. */
  suggested_matches: Array<SuggestedMatch> | null;
  /** The length of `suggested_matches` before it was cut; absent if it was not. */
  suggested_matches_count?: number;
  /** When the event happened. */
  timestamp: string;
  /** True if lists were cut to the size limit; absent otherwise. */
  truncated?: boolean;
}

/** The suggested match for one essay, as producers send it and browsers receive it. */
export interface SuggestedMatch {
  /** Confidence in the match, as the producer sent it. */
  confidence_score: number | null;
  /** The essay. */
  essay_id: string | null;
  /** The suggested student. */
  suggested_student_id: string | null;
}

/** One error, as producers send it and browsers receive it. */
export interface ValidationError {
  /** Code of the error. */
  error_code: string | null;
  /** The essay. */
  essay_id: string | null;
  /** Name of the uploaded file. */
  file_name?: string | null;
  /** Description of the error for the user. */
  message: string | null;
}

/** The notification `validation_timeout_processed`. */
export interface ValidationTimeoutProcessed {
  category: "student_workflow";
  /** The correlation id that the producer set. */
  correlation_id: string | null;
  /** The data of the event. */
  data: ValidationTimeoutProcessedData;
  event: "validation_timeout_processed";
  /** The id of the event; repeated deliveries of one event have the same id. */
  event_id: string | null;
  id?: Position;
  priority: "standard";
  /** True if the event was published before under another `id`, which Redis has lost; absent otherwise. */
  restored?: boolean;
  /** When the event happened. */
  timestamp: string;
  /** The W3C `traceparent`; present only if tracing is enabled. */
  trace?: string;
  /** The recipient. */
  user_id: string;
}

/** The data of an event, with the fields that frontends expect in `data` of every notification. */
export interface ValidationTimeoutProcessedData {
  /** Number of associations that were confirmed automatically. */
  auto_confirmed_count: number | null;
  /** The batch. */
  batch_id: string | null;
  /** The category of the notification. */
  category: Category;
  /** Text for the user. */
  message: string;
  /** The priority of the notification. */
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

/** The `event` of frames with a read state. */
export const READ_STATE_EVENT = "read_state";

/** The subprotocol that the client requests. */
export const SUBPROTOCOL = "huleedu.v1";

/** Starts the subprotocol with the token. */
export const TOKEN_PREFIX = "huleedu.token.";

/** Close codes after which a client does not reconnect. */
export const STOP_CODES: readonly number[] = [1002,1003];

/** Close codes after which a client waits, up to minutes. */
export const WAIT_CODES: readonly number[] = [1007,1009,4000];

/** Close codes for a refused token. */
export const TOKEN_CODES: readonly number[] = [1008];
