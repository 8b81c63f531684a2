import os
import statistics

from celery import Celery

broker = os.environ["CELERY_BROKER_URL"]
app = Celery("stats", broker=broker, backend=broker)
app.conf.task_default_queue = "python"


@app.task(name="stats.mean")
def mean(numbers):
    return statistics.mean(numbers)
