import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { is, type Notification } from "@huleedu/live-notifications";
import { useCountdown, useNotifications } from "@huleedu/live-notifications/react";
import { feed, suggestMatches, statusText } from "../live.ts";

function Deadline({ at }: { at: string }) {
  const left = useCountdown(at);
  return (
    <p className="countdown">
      {left.over ? "The time to confirm is over" : `${left.text} left to confirm`}
    </p>
  );
}

function Item({ notification }: { notification: Notification }) {
  return (
    <li>
      {"message" in notification.data ? String(notification.data.message) : notification.event}
      {is(notification, "student_matches_suggested") && (
        <Deadline at={notification.data.confirmation_deadline} />
      )}
    </li>
  );
}

function App() {
  const { status, notifications, complete } = useNotifications(feed);
  return (
    <main>
      <h1>Live notifications in React</h1>
      <p id="state" role="status" data-state={status.state}>
        {statusText[status.state]}
      </p>
      {!complete && <p>Notifications were missed: reload the state through the API.</p>}
      <button type="button" onClick={suggestMatches}>
        Suggest matches
      </button>
      <ul>
        {notifications.map((notification) => (
          <Item key={notification.id ?? notification.event_id} notification={notification} />
        ))}
      </ul>
    </main>
  );
}

createRoot(document.getElementById("app") as HTMLElement).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
