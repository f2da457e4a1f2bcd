"""RabbitMQ: messages in its queues, 3.10 or later, through aiormq."""
