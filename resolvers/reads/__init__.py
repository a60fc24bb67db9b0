"""The read side: fields declare what they stand for, selections are compiled to SQL, SQL answers finished JSON."""
