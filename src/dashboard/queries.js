/* The queries of the start page by role; a test validates them against the schema. */

export const counts = {
  learner: [
    ["your events", "trackEvents"],
    ["your sessions", "trackSessions"],
    ["pages you viewed", "trackPageViews"],
  ],
  instructor: [
    ["your events", "trackEvents"],
    ["your roles in items", "trackItemRoles"],
  ],
  admin: [
    ["people", "trackPeople"],
    ["events", "trackEvents"],
    ["sessions", "trackSessions"],
    ["page views", "trackPageViews"],
    ["items", "trackItems"],
  ],
  analyst: [
    ["items", "trackItems"],
    ["kinds of events", "trackEventTypes"],
    ["models", "mlModels"],
    ["task runs", "monitorRuns"],
  ],
};

const parts = {
  learner: `recommendForMe(top: 5) { nodes { rank item title score basis reasons { kind item title contribution } } }`,
  analyst: `
    analyticsPopularItems(top: 8) { nodes { rank item title eventCount personCount engaged { days hours minutes } } }
    analyticsTrend(eventName: "Page Viewed") { nodes { bucketStart eventCount runningAverage isComplete } }
    monitorRuns(orderBy: STARTED_AT_DESC, first: 8) { nodes { task startedAt outcome duration { minutes seconds } } }`,
};
parts.admin = parts.analyst.replace("outcome duration", "outcome rowCount duration");
parts.instructor = `trackTaughtCourses(first: 8) { nodes { course title role startedAt endedAt } }`;

/** Counts under their own names, because a list may be shown as well. */
export function liveQuery(role) {
  const lists = counts[role].map(([, field]) => `${field}Count: ${field}(first: 0) { totalCount }`);
  return `{ ${lists.join(" ")} ${parts[role]} }`;
}

export const examples = {
  visitor: {
    "Send an event": `mutation {
  trackIngest(input: {batch: [{
    type: "page"
    messageId: "${crypto.randomUUID?.() ?? Math.random()}"
    anonymousId: "my-browser"
    properties: {path: "/courses/poetry"}
  }]}) {
    result { accepted duplicates rejected errors }
  }
}`,
  },
  learner: {
    "Recommend me a course": `{
  recommendForMe(top: 5) {
    nodes {
      rank
      title
      score
      reasons { title contribution }
    }
  }
}`,
    "My journey": `{
  trackMyJourney(since: "${new Date(Date.now() - 30 * 86_400_000).toISOString().slice(0, 10)}", first: 20) {
    nodes { occurredAt event itemTitle sincePrevious { minutes seconds } }
  }
}`,
    "My sessions": `{
  trackSessions(orderBy: STARTED_AT_DESC, first: 10) {
    nodes { startedAt viewCount engaged { minutes seconds } engagedBy }
  }
}`,
  },
  instructor: {
    "Courses that I teach": `{
  trackTaughtCourses {
    nodes { course title role endedAt }
  }
}`,
    "Learners of a course": `{
  analyticsCourseLearners(course: "course-1", first: 20) {
    nodes { person name status lastActiveAt activeDays engaged { hours minutes } shareOfTasks }
  }
}`,
    "A learner in a course": `{
  analyticsCourseJourney(course: "course-1", person: "ada", first: 20) {
    nodes { occurredAt event itemTitle engaged { minutes seconds } }
  }
}`,
    "Learners at risk": `{
  analyticsDropoutRisk(course: "course-1", top: 5) {
    nodes { rank person score reasons { feature contribution } }
  }
}`,
  },
  analyst: {
    "Popular courses": `{
  analyticsPopularItems(kind: "course", measure: "engaged", top: 5) {
    nodes { rank title personCount eventCount engaged { hours minutes } }
  }
}`,
    "A trend": `{
  analyticsTrend(eventName: "Page Viewed", bucket: "week", windowSize: 4) {
    nodes { bucketStart eventCount personCount runningAverage slope isComplete }
  }
}`,
    Models: `{
  mlModels(orderBy: MODEL_ID_DESC, first: 5) {
    nodes { version algorithm trainedAt rowCount metrics }
  }
}`,
  },
  admin: {
    "Newest people": `{
  trackPeople(orderBy: PERSON_ID_DESC, first: 10) {
    nodes { personId createdAt }
  }
}`,
    "Popular courses": `{
  analyticsPopularItems(top: 5) {
    nodes { rank title personCount eventCount }
  }
}`,
  },
};
