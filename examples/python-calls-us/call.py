import os

from celery import Celery

broker = os.environ["CELERY_BROKER_URL"]
app = Celery("web", broker=broker, backend=broker)

print(app.send_task("shop.resize", args=["a.png", 640]).get(timeout=60))
print(app.send_task("shop.resize", kwargs={"path": "b.png", "width": 320}).get(timeout=60))
try:
    app.send_task("shop.resize", args=["c.png", 0]).get(timeout=60)
except ValueError as error:
    print(f"ValueError: {error}")
