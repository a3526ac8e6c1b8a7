"use client";

import { text } from "@huleedu/live-notifications/texts";
import { useNotifications } from "@huleedu/live-notifications/react";
import { feed } from "../live";

export default function Page() {
  const { status, notifications } = useNotifications(feed);
  return (
    <main>
      <p id="state">{status.state}</p>
      <ul>
        {notifications.map((n) => (
          <li key={n.id}>{text(n, "en")}</li>
        ))}
      </ul>
    </main>
  );
}
