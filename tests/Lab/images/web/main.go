// What pods of the laboratory run: "web serve" tells who asked and who answers; "web get URL" asks, for kubectl exec.
package main

import (
	"fmt"
	"io/ioutil"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "get" {
		client := http.Client{Timeout: 20 * time.Second}
		answer, err := client.Get(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		body, err := ioutil.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			fmt.Fprintln(os.Stderr, answer.Status, err)
			os.Exit(1)
		}
		fmt.Print(string(body))
		return
	}

	name, _ := os.Hostname()
	http.HandleFunc("/", func(out http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(out, "%s answers %s\n", name, request.RemoteAddr)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
	os.Exit(1)
}
