/* Written by test/dashboard/views.test.ts from the imports of the pages: npm run schema writes it again. */

import type * as operations from "./operations.ts";

/** Pages that other sites may contain, by their address, and the operations that they send. */
export const operationsOfViews: Readonly<Record<string, readonly (keyof typeof operations)[]>> = {
  overview: [
    "activePeople",
    "courseSummaries",
    "hourOfWeek",
    "latestDays",
    "openAlerts",
    "pageViews",
    "popularItems",
    "runs",
    "trendingItems",
  ],
  "for-you": ["feedback", "myChronotype", "mySessions", "serveMe"],
  courses: [
    "courseLearners",
    "courseProgress",
    "courseSummaries",
    "dropoutRisk",
    "stoppingPoints",
    "taskDeadlines",
    "taughtCourses",
  ],
  recommendations: ["cost", "deployments", "models", "relevance", "weeklyRelevance"],
  privacy: [
    "consents",
    "dataMap",
    "decideConsent",
    "disclosures",
    "erasures",
    "myData",
    "myDisclosures",
    "myRequests",
    "openRequest",
    "pendingRequests",
    "purposes",
    "retentionPlan",
  ],
  operations: ["health", "latencies", "runs", "slowStatements", "tableState"],
};
