"""RabbitMQ: queues on a server, 3.10 or later, through aiormq."""
