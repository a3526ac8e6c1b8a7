// Written by `make contract` from `shared/fixtures`; not by hand.

import type { Notifications, OtherNotification } from "./contract.ts";

/** A notification of each event. */
export const SAMPLES: { readonly [E in keyof Notifications]: Notifications[E] } = {
  "batch_content_provisioning_completed": {
    "category": "batch_progress",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "batch_progress",
      "expected_count": 2,
      "message": "Content ready for 1 of 2 essays",
      "priority": "standard",
      "provisioned_count": 1,
      "status": "partial",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "batch_content_provisioning_completed",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000007",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "batch_essays_ready": {
    "category": "batch_progress",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "batch_progress",
      "essay_count": 2,
      "message": "Batch ready with 2 essays",
      "priority": "standard",
      "status": "ready",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "batch_essays_ready",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000003",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "batch_file_added": {
    "category": "file_operations",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "file_operations",
      "file_upload_id": "f11e0000-0000-4000-8000-000000000001",
      "filename": "Uppsats_Åsa.docx",
      "priority": "standard",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "batch_file_added",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000001",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "batch_file_removed": {
    "category": "file_operations",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "file_operations",
      "file_upload_id": "f11e0000-0000-4000-8000-000000000001",
      "filename": "Uppsats_Åsa.docx",
      "priority": "standard",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "batch_file_removed",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000002",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "batch_phase_outcome": {
    "category": "batch_progress",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "batch_progress",
      "message": "Phase spellcheck completed with status: completed_with_failures",
      "outcome_status": "completed_with_failures",
      "phase": "spellcheck",
      "priority": "standard",
      "status": "completed_with_failures",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "batch_phase_outcome",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000024",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "batch_validation_errors": {
    "category": "system_alerts",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "system_alerts",
      "error_count": 1,
      "message": "1 validation errors require attention",
      "priority": "immediate",
      "timestamp": "2025-08-06T09:15:30.123456Z",
      "validation_errors": [
        {
          "error_code": "CONTENT_TOO_SHORT",
          "essay_id": "e55a1000-0000-4000-8000-000000000002",
          "message": "File 'a.docx' contains only 12 characters"
        }
      ]
    },
    "event": "batch_validation_errors",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000005",
    "priority": "immediate",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "cj_assessment_completed": {
    "category": "processing_results",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "assessment_id": "118",
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "processing_results",
      "comparison_count": 45,
      "message": "CJ Assessment completed successfully",
      "priority": "standard",
      "results_available": true,
      "service": "cj_assessment",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "cj_assessment_completed",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000016",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "cj_assessment_failed": {
    "category": "system_alerts",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "system_alerts",
      "error_message": "boom",
      "message": "CJ Assessment failed - manual review required",
      "priority": "immediate",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "cj_assessment_failed",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000018",
    "priority": "immediate",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "class_created": {
    "category": "class_management",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "category": "class_management",
      "class_designation": "9B Svenska",
      "class_id": "c1a55000-0000-4000-8000-000000000001",
      "course_codes": [
        "SV1"
      ],
      "message": "Class 9B Svenska created",
      "priority": "standard",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "class_created",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000030",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "essay_content_provisioned": {
    "category": "file_operations",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "file_operations",
      "file_upload_id": "f11e0000-0000-4000-8000-000000000001",
      "filename": "Uppsats_Åsa.docx",
      "message": "Content of Uppsats_Åsa.docx is ready",
      "priority": "low",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "essay_content_provisioned",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000026",
    "priority": "low",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "essay_student_association_updated": {
    "category": "student_workflow",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "association_method": "manual",
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "student_workflow",
      "confidence_score": null,
      "essay_id": "e55a1000-0000-4000-8000-000000000001",
      "message": "Essay associated with a student",
      "priority": "standard",
      "student_id": "57de0000-0000-4000-8000-000000000001",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "essay_student_association_updated",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000033",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "essay_validation_failed": {
    "category": "system_alerts",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "system_alerts",
      "error_code": "CONTENT_TOO_SHORT",
      "error_message": "File 'a.docx' contains only 12 characters",
      "file_upload_id": "f11e0000-0000-4000-8000-000000000001",
      "filename": "a.docx",
      "message": "a.docx could not be used: File 'a.docx' contains only 12 characters",
      "priority": "immediate",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "essay_validation_failed",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000028",
    "priority": "immediate",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "spellcheck_completed": {
    "category": "processing_results",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "processing_results",
      "corrections_count": 17,
      "essay_id": "e55a1000-0000-4000-8000-000000000001",
      "message": "Spellcheck completed: 17 corrections made",
      "priority": "standard",
      "results_available": true,
      "service": "spellcheck",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "spellcheck_completed",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000021",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "student_associations_confirmed": {
    "category": "student_workflow",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "student_workflow",
      "confirmed_count": 2,
      "message": "2 student associations confirmed",
      "priority": "standard",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "student_associations_confirmed",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000012",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "student_created": {
    "category": "class_management",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "category": "class_management",
      "class_id": "c1a55000-0000-4000-8000-000000000001",
      "class_ids": [
        "c1a55000-0000-4000-8000-000000000001"
      ],
      "message": "Student Åsa Öberg created",
      "priority": "low",
      "student_id": "57de0000-0000-4000-8000-000000000001",
      "student_name": "Åsa Öberg",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "student_created",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000031",
    "priority": "low",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "student_matches_suggested": {
    "category": "student_workflow",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "action_required": true,
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "student_workflow",
      "class_id": "c1a55000-0000-4000-8000-000000000001",
      "confirmation_deadline": "2025-08-07T09:15:30.123456Z",
      "confirmation_url": "/batches/7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11/confirm-matches",
      "message": "Please review 1 student matches within 24 hours",
      "priority": "immediate",
      "suggested_matches": [
        {
          "confidence_score": 0.93,
          "essay_id": "e55a1000-0000-4000-8000-000000000001",
          "suggested_student_id": "57de0000-0000-4000-8000-000000000001"
        }
      ],
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "student_matches_suggested",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000009",
    "priority": "immediate",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  },
  "validation_timeout_processed": {
    "category": "student_workflow",
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "data": {
      "auto_confirmed_count": 1,
      "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
      "category": "student_workflow",
      "message": "Validation timeout: 1 matches auto-confirmed",
      "priority": "standard",
      "timestamp": "2025-08-06T09:15:30.123456Z"
    },
    "event": "validation_timeout_processed",
    "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000014",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "user_id": "teacher-42"
  }
};

/** A notification that a service requested under a name of its own. */
export const OTHER_SAMPLE: OtherNotification = {
  "category": "file_operations",
  "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
  "data": {
    "action_required": false,
    "batch_id": "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11",
    "category": "file_operations",
    "class_id": null,
    "correlation_id": "5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10",
    "deadline": null,
    "file_upload_id": "f11e0000-0000-4000-8000-000000000001",
    "filename": "Uppsats_Åsa.docx",
    "message": "File 'Uppsats_Åsa.docx' uploaded successfully",
    "priority": "standard",
    "timestamp": "2025-08-06T09:15:30.123456Z",
    "upload_status": "completed"
  },
  "event": "batch_files_uploaded",
  "event_id": "0b8f6a51-6a0f-4f3f-9a39-000000000036",
  "priority": "standard",
  "timestamp": "2025-08-06T09:15:30.123456Z",
  "user_id": "teacher-42"
};
