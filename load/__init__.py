"""The load laboratory: scenarios on Locust, with faults on a schedule, thresholds and a report."""
