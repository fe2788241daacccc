/** Queries of the roles to begin with; a test validates them against the schema. */
export const examples: Record<string, Record<string, string>> = {
  visitor: {
    "Send an event": `mutation {
  trackIngest(input: {batch: [{
    type: "page"
    messageId: "${crypto.randomUUID()}"
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
  analyticsCourseLearners(course: "course-1", top: 20) {
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
    nodes {
      rank
      title
      personCount
      engaged { hours minutes }
    }
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
