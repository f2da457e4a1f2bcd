"""RabbitMQ: messages in its queues, through aiormq."""
