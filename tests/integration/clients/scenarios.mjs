// What each client of subscriptions does in a test, and what it reports of it.

const GOOD = "subscription S($id: String!) { execution(executionId: $id) { status } }";
const WRONG = "subscription { execution(executionId: 5) { nothing } }";

function described(error) {
  if (Array.isArray(error)) return { errors: error.map((each) => each.extensions?.code) };
  if (error?.errors) return { errors: error.errors.map((each) => each.extensions?.code) };
  if (error?.code) return { code: error.code, reason: error.reason };
  if (error?.response) return { status: error.response.status };
  return { message: String(error?.message ?? error) };
}

// `subscribe(payload, sink)` returns a function that cancels. Scenarios: complete, wrong, unauthenticated, cancel, reconnect.
export function play(subscribe, scenario, report) {
  const payload = scenario === "wrong" ? { query: WRONG } : { query: GOOD, variables: { id: "101" } };
  const cancel = subscribe(payload, {
    next(result) {
      if (result.errors && !result.data) return report("error", described(result.errors));
      report("next", result.data.execution.status);
      if (scenario === "cancel")
        setTimeout(() => {
          cancel();
          report("cancelled");
        }, 500);
    },
    error: (error) => report("error", described(error)),
    complete: () => report("complete"),
  });
}
