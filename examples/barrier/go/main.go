// Asks once and says the outcome: exit 0 if everything written so far is durable.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

var client = &http.Client{Timeout: 40 * time.Second} // keeps its connections

func barrier() error {
	answer, err := client.Post(os.Getenv("METAMASTER_URL")+"/v1/barrier?timeoutSeconds=30", "", nil)
	if err != nil {
		return err // not known to be durable: don't acknowledge
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 16<<10))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("barrier: %s: %s", answer.Status, body)
	}
	return err
}

func main() {
	if err := barrier(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("durable")
}
